/*
 * Power-cut simulator, the recording half: an LD_PRELOAD library that notes what
 * a process has made durable below POWERCUT_ROOT.
 *
 * It keeps, in POWERCUT_SHADOW, `data/<id>`, one durable copy per file, brought up
 * to date inside fsync and fdatasync only, and `log`, the namespace changes and
 * directory syncs in the order they happened. It does not decide what survives:
 * the wrapper replays the log after the process is dead (README.md, "The model").
 *
 * Files are known by inode number, never by descriptor, so close, dup and fork need
 * no attention. The shim never opens and closes a tracked file by itself: that would
 * drop the POSIX locks SQLite holds on it.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "known.h"

#define RENAME_EXCHANGE_FLAG 2u

/* ---- opening -------------------------------------------------------------- */

/* Opens for writing and says whether this call created the file. A write-only
 * descriptor is opened for reading too, because a sync must read the file back. */
static int open_known(int dirfd, const char *path, int flags, mode_t mode, int *created) {
    int wide = flags;
    if ((flags & O_ACCMODE) == O_WRONLY) wide = (flags & ~O_ACCMODE) | O_RDWR;
    for (int attempt = 0; attempt < 16; attempt++) {
        int fd = -1;
        *created = 0;
        if (!(flags & O_CREAT) || !(flags & O_EXCL))
            fd = raw_open(dirfd, path, wide & ~(O_CREAT | O_EXCL), 0);
        else
            errno = ENOENT;
        if (fd < 0 && errno == ENOENT && (flags & O_CREAT)) {
            fd = raw_open(dirfd, path, wide | O_EXCL, mode);
            *created = fd >= 0;
            if (fd < 0 && errno == EEXIST && !(flags & O_EXCL)) continue;
        }
        if (fd < 0 && errno == EACCES && wide != flags) {
            wide = flags;
            continue;
        }
        return fd;
    }
    *created = 0;
    return raw_open(dirfd, path, flags, mode);
}

static int do_open(int dirfd, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    struct stat st;
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!on || !writes || (flags & O_PATH) || (flags & O_TMPFILE) == O_TMPFILE)
        return raw_open(dirfd, path, flags, mode);
    int created = 0, fd, known = path_at(dirfd, path, name) != NULL;
    if (known) {
        lock();
        fd = open_known(dirfd, path, flags, mode, &created);
    } else {
        fd = raw_open(dirfd, path, flags, mode);
        if (fd >= 0) lock();
    }
    int saved = errno;
    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_dev == root_device) {
        struct file *file = created ? NULL : find(st.st_ino);
        const char *relative = file ? NULL : path_of(fd, name);
        if (relative) file = adopt(relative, &st, created);
        if (file && (flags & O_TRUNC)) note_size(file, 0);
        if (file && (flags & O_APPEND)) file->append = 1;
        if (file && (flags & O_DSYNC)) file->osync = 1;
    }
    if (known || fd >= 0) unlock();
    errno = saved;
    return fd;
}

#define OPEN(name)                                       \
    int name(const char *path, int flags, ...) {         \
        va_list list;                                    \
        va_start(list, flags);                           \
        mode_t mode = va_arg(list, mode_t);              \
        va_end(list);                                    \
        return do_open(AT_FDCWD, path, flags, mode);     \
    }
#define OPENAT(name)                                     \
    int name(int dirfd, const char *path, int flags, ...) { \
        va_list list;                                    \
        va_start(list, flags);                           \
        mode_t mode = va_arg(list, mode_t);              \
        va_end(list);                                    \
        return do_open(dirfd, path, flags, mode);        \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) {
    return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }
int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return do_open(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) {
    return do_open(at, path, flags, 0);
}

/* ---- writing -------------------------------------------------------------- */

/* Sequential writes hold the lock, so that the position read back is theirs. A
 * range is noted after its write: noted before, a sync in between would lose it. */
static ssize_t sequential(int fd, long call, const void *data, size_t count) {
    struct file *file = tracked(fd);
    ssize_t done = syscall(call, fd, data, count);
    if (!file) return done;
    int saved = errno;
    off_t end = lseek(fd, 0, SEEK_CUR);
    if (done > 0) written(file, fd, end - done, end);
    unlock();
    errno = saved;
    return done;
}

static ssize_t positioned(int fd, ssize_t done, off_t at) {
    int saved = errno;
    struct file *file = done > 0 ? tracked(fd) : NULL;
    if (file) {
        if (file->append) file->whole = 1;
        written(file, fd, at, at + done);
        unlock();
    }
    errno = saved;
    return done;
}

static ssize_t somewhere(int fd, ssize_t done) {
    int saved = errno;
    struct file *file = done > 0 ? tracked(fd) : NULL;
    if (file) {
        file->whole = 1;
        written(file, fd, 0, 0);
        unlock();
    }
    errno = saved;
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    return sequential(fd, SYS_write, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return sequential(fd, SYS_writev, parts, (size_t)count);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return positioned(fd, syscall(SYS_pwrite64, fd, data, size, at), at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    return pwrite(fd, data, size, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return positioned(fd, syscall(SYS_pwritev, fd, parts, count, at, 0L), at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) {
    return pwritev(fd, parts, count, at);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return somewhere(fd, syscall(SYS_pwritev2, fd, parts, count, at, 0L, flags));
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return pwritev2(fd, parts, count, at, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t size) {
    return somewhere(out, syscall(SYS_sendfile, out, in, at, size));
}
ssize_t sendfile64(int out, int in, off_t *at, size_t size) {
    return sendfile(out, in, at, size);
}
ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t size,
                        unsigned flags) {
    return somewhere(out, syscall(SYS_copy_file_range, in, from, out, to, size, flags));
}
ssize_t splice(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags) {
    return somewhere(out, syscall(SYS_splice, in, from, out, to, size, flags));
}

int ftruncate(int fd, off_t size) {
    struct file *file = tracked(fd);
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (file) {
        if (result == 0) note_size(file, size);
        unlock();
    }
    return result;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int truncate(const char *path, off_t size) {
    struct stat st;
    if (!on) return (int)syscall(SYS_truncate, path, size);
    lock();
    int result = (int)syscall(SYS_truncate, path, size), saved = errno;
    if (result == 0 && !stat(path, &st) && st.st_dev == root_device) {
        struct file *file = find(st.st_ino);
        if (file) note_size(file, size);
    }
    unlock();
    errno = saved;
    return result;
}
int truncate64(const char *path, off_t size) { return truncate(path, size); }

int fallocate(int fd, int mode, off_t at, off_t size) {
    int result = (int)syscall(SYS_fallocate, fd, mode, at, size);
    somewhere(fd, result == 0 ? 1 : 0);
    return result;
}
int fallocate64(int fd, int mode, off_t at, off_t size) {
    return fallocate(fd, mode, at, size);
}
/* Without the libc's own fallback: where the file system cannot do it, it says so. */
int posix_fallocate(int fd, off_t at, off_t size) {
    int saved = errno, result = fallocate(fd, 0, at, size) ? errno : 0;
    errno = saved;
    return result;
}
int posix_fallocate64(int fd, off_t at, off_t size) {
    return posix_fallocate(fd, at, size);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t at) {
    void *result = (void *)syscall(SYS_mmap, address, size, (long)protection,
                                   (long)flags, (long)fd, at);
    if (fd >= 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED)) {
        int saved = errno;
        struct file *file = tracked(fd);
        if (file) {
            file->mapped = 1;
            unlock();
        }
        errno = saved;
    }
    return result;
}
void *mmap64(void *address, size_t size, int protection, int flags, int fd, off_t at) {
    return mmap(address, size, protection, flags, fd, at);
}

/* ---- syncing -------------------------------------------------------------- */

/* sync_file_range, msync, sync and syncfs promise less or are not told apart by file:
 * they pass unseen and count for nothing. */
static int do_sync(int fd, long call) {
    char name[PATH_MAX];
    struct stat st;
    int result = (int)syscall(call, fd);
    if (!on || result || fstat(fd, &st) || st.st_dev != root_device) return result;
    int saved = errno;
    if (S_ISDIR(st.st_mode)) {
        const char *relative = path_of(fd, name);
        if (relative) {
            lock();
            record("S", 1, relative);
            unlock();
        }
    } else if (S_ISREG(st.st_mode) && st.st_nlink > 0) {
        lock();
        struct file *file = find(st.st_ino);
        const char *relative = file ? NULL : path_of(fd, name);
        if (relative) file = adopt(relative, &st, 0);
        if (file) make_durable(file, fd);
        unlock();
    }
    errno = saved;
    return result;
}

int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

/* ---- names ---------------------------------------------------------------- */

/* The inode that a removal or replacement of this name frees, or 0. */
static ino_t last_name(int dirfd, const char *path) {
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW)) return 0;
    int last = S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_dev == root_device;
    return last ? st.st_ino : 0;
}

static int name_taken(int dirfd, const char *path) {
    struct stat st;
    return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void name_appears(int dirfd, const char *path, const char *relative) {
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW)) return;
    if (S_ISDIR(st.st_mode)) {
        char bits[12];
        snprintf(bits, sizeof bits, "%u", (unsigned)(st.st_mode & 07777));
        record("D", 2, relative, bits);
    } else if (S_ISREG(st.st_mode)) {
        struct file *file = find(st.st_ino);
        if (file)
            record_entry(relative, file, st.st_mode);
        else
            adopt(relative, &st, 0);
    } else if (S_ISLNK(st.st_mode)) {
        char target[PATH_MAX];
        ssize_t length = readlinkat(dirfd, path, target, sizeof target - 1);
        if (length < 0) return;
        target[length] = '\0';
        record("Y", 2, relative, target);
    }
}

static int do_rename(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags) {
    char from_name[PATH_MAX], to_name[PATH_MAX];
    const char *old = on ? path_at(from_dir, from, from_name) : NULL;
    const char *new = on ? path_at(to_dir, to, to_name) : NULL;
    if (!old && !new)
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    lock();
    ino_t moved = last_name(from_dir, from), freed = last_name(to_dir, to);
    int result = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    int saved = errno;
    if (result == 0 && (flags & RENAME_EXCHANGE_FLAG)) {
        if (old && new) record("X", 2, old, new);
    } else if (result == 0 && name_taken(from_dir, from)) {
        /* Two names of one file: rename does nothing, and says that it worked. */
    } else if (result == 0) {
        if (freed && freed != moved) forget(freed);
        if (old && new) record("R", 2, old, new);
        if (old && !new) record("U", 1, old);
        if (new && (!old || (moved && !find(moved)))) name_appears(to_dir, to, new);
    }
    unlock();
    errno = saved;
    return result;
}

static int do_unlink(int dirfd, const char *path, int flags) {
    char name[PATH_MAX];
    const char *relative = on ? path_at(dirfd, path, name) : NULL;
    if (!relative) return (int)syscall(SYS_unlinkat, dirfd, path, flags);
    lock();
    ino_t freed = last_name(dirfd, path);
    int result = (int)syscall(SYS_unlinkat, dirfd, path, flags), saved = errno;
    if (result == 0) {
        record("U", 1, relative);
        if (freed) forget(freed);
    }
    unlock();
    errno = saved;
    return result;
}

/* For calls that make a name: run under the lock, then log what appeared. */
#define MAKE(dirfd, path, call)                                       \
    do {                                                              \
        char name[PATH_MAX];                                          \
        const char *relative = on ? path_at(dirfd, path, name) : NULL; \
        if (!relative) return (int)(call);                            \
        lock();                                                       \
        int result = (int)(call), saved = errno;                      \
        if (result == 0) name_appears(dirfd, path, relative);         \
        unlock();                                                     \
        errno = saved;                                                \
        return result;                                                \
    } while (0)

int rename(const char *from, const char *to) {
    return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return do_rename(from_dir, from, to_dir, to, 0);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to,
              unsigned flags) {
    return do_rename(from_dir, from, to_dir, to, flags);
}
int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int unlinkat(int dirfd, const char *path, int flags) {
    return do_unlink(dirfd, path, flags);
}
int rmdir(const char *path) { return do_unlink(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int dirfd, const char *path, mode_t mode) {
    MAKE(dirfd, path, syscall(SYS_mkdirat, dirfd, path, mode));
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    MAKE(to_dir, to, syscall(SYS_linkat, from_dir, from, to_dir, to, flags));
}
int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int symlinkat(const char *target, int dirfd, const char *path) {
    MAKE(dirfd, path, syscall(SYS_symlinkat, target, dirfd, path));
}
int symlink(const char *target, const char *path) {
    return symlinkat(target, AT_FDCWD, path);
}
