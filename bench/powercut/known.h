#pragma once
/*
 * What the shim knows: the files below the root, which of their bytes are not yet
 * durable, and the log of namespace changes. No interposed symbol is defined here.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__LP64__)
#error "powercut needs 64-bit Linux"
#endif

#define BUCKETS 1024
#define MAX_RANGES 4096

struct range {
    off_t start, end;
};

struct file {
    struct file *next;
    ino_t ino;
    unsigned long id;
    off_t low;     /* smallest size since the last sync, or -1 */
    int whole;     /* what is not yet durable is unknown: copy everything */
    int mapped;    /* mapped for writing: copy everything at every sync */
    int append;    /* was opened with O_APPEND: pwrite ignores its offset */
    int osync;     /* was opened with O_SYNC or O_DSYNC */
    int anchored;  /* its creation has been logged as durable */
    size_t count;
    size_t capacity;
    struct range *ranges;
};

static int on;
static char root[PATH_MAX], shadow[PATH_MAX];
static size_t root_length;
static dev_t root_device;
static struct file *table[BUCKETS];
static unsigned long next_id = 1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char copy_buffer[1 << 16];

/* A fault of the simulator must never look like a result of the simulation. */
static void die(const char *what) {
    dprintf(2, "powercut: %s: %s\n", what, strerror(errno));
    abort();
}

static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }

static int raw_open(int dirfd, const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

static void raw_close(int fd) { syscall(SYS_close, fd); }

static void write_all(int fd, const char *data, size_t length, off_t at) {
    while (length > 0) {
        ssize_t done = syscall(SYS_pwrite64, fd, data, length, at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) die("writing the shadow");
        data += done, length -= (size_t)done, at += done;
    }
}

/* ---- the log -------------------------------------------------------------- */

/* One record, one write: letter and fields, each ended by NUL. */
static void record(const char *letter, int fields, ...) {
    static char line[3 * PATH_MAX];
    char path[PATH_MAX + 8];
    size_t length = 0;
    va_list list;
    va_start(list, fields);
    for (int i = 0; i <= fields; i++) {
        const char *field = i == 0 ? letter : va_arg(list, const char *);
        size_t size = strlen(field) + 1;
        if (length + size > sizeof line) die("log record too long");
        memcpy(line + length, field, size);
        length += size;
    }
    va_end(list);
    snprintf(path, sizeof path, "%s/log", shadow);
    int fd = raw_open(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (fd < 0) die("opening the log");
    if (syscall(SYS_write, fd, line, length) != (ssize_t)length)
        die("writing the log");
    raw_close(fd);
}

/* ---- paths ---------------------------------------------------------------- */

/* The path below the root, or NULL. SQLite's -shm is rebuilt after a power cut. */
static const char *inside(const char *path) {
    size_t length = strlen(path);
    if (strncmp(path, root, root_length) != 0) return NULL;
    if (length == root_length) return path + length;
    if (path[root_length] != '/') return NULL;
    if (length > 4 && strcmp(path + length - 4, "-shm") == 0) return NULL;
    return path + root_length + 1;
}

static const char *path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, out, PATH_MAX - 1);
    if (length < 0) return NULL;
    out[length] = '\0';
    return inside(out);
}

/* The path below the root of a name whose folder is resolved by the kernel. */
static const char *path_at(int dirfd, const char *path, char *out) {
    char parent[PATH_MAX];
    size_t length = path ? strlen(path) : 0;
    if (length == 0 || length >= sizeof parent) return NULL;
    memcpy(parent, path, length + 1);
    while (length > 1 && parent[length - 1] == '/') parent[--length] = '\0';
    char *slash = strrchr(parent, '/');
    char *name = slash ? slash + 1 : parent;
    if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) return NULL;
    char base[NAME_MAX + 1];
    if (strlen(name) > NAME_MAX) return NULL;
    strcpy(base, name);
    *name = '\0';
    int fd = raw_open(dirfd, *parent ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) return NULL;
    int found = path_of(fd, out) != NULL;
    raw_close(fd);
    if (!found) return NULL;
    length = strlen(out);
    if (length + strlen(base) + 2 > PATH_MAX) return NULL;
    out[length] = '/';
    strcpy(out + length + 1, base);
    return inside(out);
}

/* ---- known files, all under the lock --------------------------------------- */

static struct file *find(ino_t ino) {
    struct file *file = table[ino % BUCKETS];
    while (file && file->ino != ino) file = file->next;
    return file;
}

static void forget(ino_t ino) {
    struct file **link = &table[ino % BUCKETS];
    for (; *link; link = &(*link)->next)
        if ((*link)->ino == ino) {
            struct file *gone = *link;
            *link = gone->next;
            free(gone->ranges);
            free(gone);
            return;
        }
}

static struct file *insert(ino_t ino, unsigned long id, int whole) {
    forget(ino);
    struct file *file = calloc(1, sizeof *file);
    if (!file) die("memory");
    *file = (struct file){.next = table[ino % BUCKETS],
                          .ino = ino,
                          .id = id,
                          .low = -1,
                          .whole = whole};
    table[ino % BUCKETS] = file;
    return file;
}

static void data_path(char *out, size_t size, unsigned long id) {
    snprintf(out, size, "%s/data/%lu", shadow, id);
}

static void record_entry(const char *relative, const struct file *file, mode_t mode) {
    char id[24], ino[24], bits[12];
    snprintf(id, sizeof id, "%lu", file->id);
    snprintf(ino, sizeof ino, "%lu", (unsigned long)file->ino);
    snprintf(bits, sizeof bits, "%u", (unsigned)(mode & 07777));
    record("A", 4, relative, id, ino, bits);
}

/* A file not seen before: an empty durable copy and a name that is not durable. */
static struct file *adopt(const char *relative, const struct stat *st, int created) {
    char path[PATH_MAX + 32];
    int fd;
    do {
        data_path(path, sizeof path, next_id++);
        fd = raw_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EEXIST);
    if (fd < 0) die("creating a durable copy");
    raw_close(fd);
    struct file *file = insert(st->st_ino, next_id - 1, !created);
    record_entry(relative, file, st->st_mode);
    return file;
}

static void add_range(struct file *file, off_t start, off_t end) {
    if (file->whole || end <= start) return;
    if (file->count > 0) {
        struct range *last = &file->ranges[file->count - 1];
        if (start <= last->end && end >= last->start) {
            if (start < last->start) last->start = start;
            if (end > last->end) last->end = end;
            return;
        }
    }
    if (file->count == MAX_RANGES) {
        /* One range around all of them: copying too much is always right. */
        for (size_t i = 0; i < file->count; i++) {
            if (file->ranges[i].start < start) start = file->ranges[i].start;
            if (file->ranges[i].end > end) end = file->ranges[i].end;
        }
        file->count = 0;
    }
    if (file->count == file->capacity) {
        size_t capacity = file->capacity ? 2 * file->capacity : 16;
        file->ranges = realloc(file->ranges, capacity * sizeof *file->ranges);
        if (!file->ranges) die("memory");
        file->capacity = capacity;
    }
    file->ranges[file->count++] = (struct range){start, end};
}

static void note_size(struct file *file, off_t size) {
    if (file->low < 0 || size < file->low) file->low = size;
}

static void copy_range(int from, int to, off_t at, off_t end) {
    while (at < end) {
        size_t want = sizeof copy_buffer;
        if (end - at < (off_t)want) want = (size_t)(end - at);
        ssize_t got = syscall(SYS_pread64, from, copy_buffer, want, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) die("reading back a file that is being synced");
        if (got == 0) return;
        write_all(to, copy_buffer, (size_t)got, at);
        at += got;
    }
}

/*
 * The moment of truth: what is not yet durable becomes so before the caller's sync
 * returns. A kill half way leaves some of it durable, which a disk may do as well,
 * because that sync has not returned. Nothing durable before is ever undone.
 */
static void make_durable(struct file *file, int fd) {
    char path[PATH_MAX + 32];
    struct stat st, old;
    data_path(path, sizeof path, file->id);
    int out = raw_open(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (out < 0 || fstat(fd, &st) || fstat(out, &old)) die("opening a durable copy");
    if (file->whole || file->mapped) {
        copy_range(fd, out, 0, st.st_size);
    } else {
        if (file->low >= 0 && file->low < old.st_size &&
            syscall(SYS_ftruncate, out, file->low))
            die("cutting a durable copy");
        for (size_t i = 0; i < file->count; i++)
            copy_range(fd, out, file->ranges[i].start, file->ranges[i].end);
    }
    if (syscall(SYS_ftruncate, out, st.st_size)) die("sizing a durable copy");
    raw_close(out);
    file->count = 0, file->low = -1, file->whole = 0;
    if (!file->anchored) {
        char id[24];
        snprintf(id, sizeof id, "%lu", file->id);
        record("F", 1, id);
        file->anchored = 1;
    }
}

/* The tracked file behind a descriptor, with the lock held, or NULL without it. */
static struct file *tracked(int fd) {
    struct stat st;
    if (!on || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_dev != root_device)
        return NULL;
    lock();
    struct file *file = find(st.st_ino);
    if (!file) unlock();
    return file;
}

static void written(struct file *file, int fd, off_t start, off_t end) {
    add_range(file, start, end);
    if (file->osync && (fcntl(fd, F_GETFL) & O_DSYNC)) make_durable(file, fd);
}

/* ---- start ---------------------------------------------------------------- */

/* Files known to an earlier process: it may have left writes that were never synced
 * but are in the page cache, so their first sync here copies everything. */
static void load(void) {
    char path[PATH_MAX + 8];
    struct stat st;
    snprintf(path, sizeof path, "%s/log", shadow);
    int fd = raw_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &st)) die("opening the log (call environment() first)");
    char *log = malloc((size_t)st.st_size + 1);
    if (!log || read(fd, log, (size_t)st.st_size) != st.st_size) die("reading the log");
    raw_close(fd);
    const char *end = log + st.st_size;
    for (const char *at = log; at < end;) {
        const char *fields[5] = {at};
        int wanted = *at == 'A' ? 5 : strchr("DRXY", *at) ? 3 : 2;
        for (int i = 0; i < wanted; i++) {
            fields[i] = at;
            at += strnlen(at, (size_t)(end - at)) + 1;
            if (at > end) goto done;
        }
        if (*fields[0] != 'A') continue;
        unsigned long id = strtoul(fields[2], NULL, 10);
        insert(strtoul(fields[3], NULL, 10), id, 1);
        if (id >= next_id) next_id = id + 1;
    }
done:
    free(log);
}

__attribute__((constructor)) static void start(void) {
    const char *below = getenv("POWERCUT_ROOT"), *beside = getenv("POWERCUT_SHADOW");
    struct stat st;
    char pid[16];
    if (!below || !beside) return;
    if (!realpath(below, root) || !realpath(beside, shadow) || stat(root, &st))
        die("POWERCUT_ROOT or POWERCUT_SHADOW");
    if (access("/proc/self/fd", X_OK)) die("/proc is needed");
    root_length = strlen(root);
    root_device = st.st_dev;
    load();
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    record("P", 1, pid);
    pthread_atfork(lock, unlock, unlock);
    on = 1;
}
