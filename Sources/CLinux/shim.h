/* What Swift's Glibc module lacks. Never define _GNU_SOURCE here: it turns `sockaddr *` parameters into a
   transparent union that Swift cannot pass. GNU-only functions are declared by hand instead. */
#ifndef SLUICE_CLINUX_H
#define SLUICE_CLINUX_H
#include <linux/sockios.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
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
extern int pipe2(int[2], int);
extern int pthread_setname_np(pthread_t, const char *);
extern int pipe2(int[2], int);
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
extern void *memmem(const void *, size_t, const void *, size_t);

static inline int sl_epoll_ctl(int epoll, int op, int fd, uint32_t events, uint64_t key) {
    struct epoll_event e;
    e.events = events;
    e.data.u64 = key;
    return epoll_ctl(epoll, op, fd, &e);
}
/* No core file, and nobody without privileges may look into the memory. */
static inline void sl_forbid_dumps(void) { prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

/* Bytes that the peer has not acknowledged, sent or not. */
static inline int sl_unacknowledged(int fd) {
    int count = 0;
    return ioctl(fd, SIOCOUTQ, &count) == 0 ? count : 0;
}
static const uint32_t SL_IN = EPOLLIN, SL_OUT = EPOLLOUT, SL_RDHUP = EPOLLRDHUP, SL_ERR = EPOLLERR, SL_HUP = EPOLLHUP;
/* Wakes one of those that wait for a shared socket, not all. Only with EPOLL_CTL_ADD. */
static const uint32_t SL_EXCLUSIVE = EPOLLEXCLUSIVE;
static const int SL_DATAGRAM = SOCK_DGRAM;
static const int SL_NONBLOCK = SOCK_NONBLOCK, SL_CLOEXEC = SOCK_CLOEXEC, SL_STREAM = SOCK_STREAM;
static const int SL_NOSIGNAL = MSG_NOSIGNAL, SL_DONTWAIT = MSG_DONTWAIT;
static const short SL_SPAWN_SETSID = 0x80; /* POSIX_SPAWN_SETSID, which is GNU only */

/* For `sluice supervise`, a process of one thread: nowhere else may it be called. */
static inline pid_t sl_fork(void) { return fork(); }
/* Descendants whose parents have ended become ours. */
static inline int sl_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }
/* SIGKILL when the parent's thread ends, kept over exec. */
static inline int sl_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); }
#endif
