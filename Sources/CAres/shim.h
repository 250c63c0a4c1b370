/* c-ares' headers, and as functions what Swift cannot say. */
#ifndef SLUICE_CARES_H
#define SLUICE_CARES_H
#include <ares.h>
#include <string.h>

/* Options with the socket callback set; what the returned mask does not name stays at the library's default. */
static inline int sl_ares_options(
    struct ares_options *options, ares_sock_state_cb callback, void *context, int timeout_milliseconds, int tries) {
    memset(options, 0, sizeof *options);
    options->sock_state_cb = callback;
    options->sock_state_cb_data = context;
    options->timeout = timeout_milliseconds;
    options->tries = tries;
    return ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
}
#endif
