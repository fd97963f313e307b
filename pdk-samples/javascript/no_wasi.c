/* The few WASI calls that QuickJS's C library would make, answered here: the plugin then imports nothing but Extism's
 * functions, evaluating the script at build time gives the same bytes each time, and so does every call.
 *
 * The clock stands at the epoch, and there is no file to write to. A plugin that reads files makes the calls that it
 * needs by itself, in files/files.c. */
#include <errno.h>
#include <wasi/api.h>

__wasi_errno_t __wasi_clock_time_get(__wasi_clockid_t id, __wasi_timestamp_t precision, __wasi_timestamp_t *time) {
    (void)id, (void)precision;
    *time = 0;
    return __WASI_ERRNO_SUCCESS;
}

/* The C library's own close imports fd_close by itself, not through a wrapper as the others do. */
int close(int fd) {
    (void)fd;
    errno = EBADF;
    return -1;
}

__wasi_errno_t __wasi_fd_fdstat_get(__wasi_fd_t fd, __wasi_fdstat_t *stat) {
    (void)fd, (void)stat;
    return __WASI_ERRNO_BADF;
}

__wasi_errno_t __wasi_fd_seek(__wasi_fd_t fd, __wasi_filedelta_t offset, __wasi_whence_t whence,
                              __wasi_filesize_t *position) {
    (void)fd, (void)offset, (void)whence, (void)position;
    return __WASI_ERRNO_BADF;
}

__wasi_errno_t __wasi_fd_write(__wasi_fd_t fd, const __wasi_ciovec_t *vectors, size_t count, __wasi_size_t *written) {
    (void)fd, (void)vectors, (void)count, (void)written;
    return __WASI_ERRNO_BADF;
}
