/* What Swift's Glibc module lacks. Never define _GNU_SOURCE here: it turns `sockaddr *` parameters into a
   transparent union that Swift cannot pass. GNU-only functions are declared by hand instead. */
#ifndef SLUICE_CLINUX_H
#define SLUICE_CLINUX_H
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern int pthread_setname_np(pthread_t, const char *);
extern void *memmem(const void *, size_t, const void *, size_t);

static inline int sl_epoll_ctl(int epoll, int op, int fd, uint32_t events, uint64_t key) {
    struct epoll_event e;
    e.events = events;
    e.data.u64 = key;
    return epoll_ctl(epoll, op, fd, &e);
}
/* Bytes that the peer has not acknowledged, sent or not. */
static inline int sl_unacknowledged(int fd) {
    int count = 0;
    return ioctl(fd, SIOCOUTQ, &count) == 0 ? count : 0;
}
static const uint32_t SL_IN = EPOLLIN, SL_OUT = EPOLLOUT, SL_RDHUP = EPOLLRDHUP, SL_ERR = EPOLLERR, SL_HUP = EPOLLHUP;
static const int SL_NONBLOCK = SOCK_NONBLOCK, SL_CLOEXEC = SOCK_CLOEXEC, SL_STREAM = SOCK_STREAM;
static const int SL_NOSIGNAL = MSG_NOSIGNAL;
#endif
