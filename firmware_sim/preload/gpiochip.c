/*
 * Lets an unchanged program use a GPIO chip that firmware_sim plays, where the kernel has none.
 *
 * Preloaded (LD_PRELOAD), it makes a Unix socket whose file name begins with "gpiochip" look like the character device
 * of a GPIO chip, and carries the ioctls of the GPIO uAPI to the process that listens there (gpiochip.py): one message
 * for each, as it is, and one back. What the kernel would do with them is decided there. The descriptor of requested
 * lines is a pipe whose writing end that process keeps: read, poll and epoll on it are the kernel's own.
 *
 * message: request number (4 bytes), argument        answer: errno or 0 (4 bytes), argument; with a line request, the
 * pipe's reading end and the socket for that request's ioctls
 *
 * This is a model of the uAPI, not the kernel: bounce, latency and lost edges on real lines are tests/vm's affair.
 *
 * Source: linux/gpio.h (ioctl type 0xB4); libgpiod 2, lib/chip.c and lib/internal.c: what it asks of a path.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#define GPIO_TYPE 0xB4
#define GET_LINE 0x07
#define LINE_REQUEST_FD 588 /* offset of `fd` in struct gpio_v2_line_request */
#define ARGUMENT_MAX 1024
#define FDS_MAX 4096
#define MAJOR 254 /* a number of the kernel's local range: no driver has it */

static int control[FDS_MAX]; /* 1 + the socket that speaks for a descriptor; 0: not one of ours */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int is_chip(const char *path, mode_t mode)
{
	const char *slash = strrchr(path, '/');
	return S_ISSOCK(mode) && !strncmp(slash ? slash + 1 : path, "gpiochip", 8);
}

/*
 * A program is built for one of two `struct stat`s, which differ on 32-bit machines. __xstat is what glibc before 2.33
 * called the same; the gpiod wheel is built against it.
 */
#define LOOK(suffix)                                                                                                   \
	static int look##suffix(const char *path, struct stat##suffix *found, int flags)                               \
	{                                                                                                              \
		if (fstatat##suffix(AT_FDCWD, path, found, flags))                                                     \
			return -1;                                                                                     \
		if (is_chip(path, found->st_mode)) {                                                                   \
			found->st_mode = S_IFCHR | (found->st_mode & 07777);                                           \
			found->st_rdev = makedev(MAJOR, found->st_ino & 0xff);                                         \
		}                                                                                                      \
		return 0;                                                                                              \
	}                                                                                                              \
	int stat##suffix(const char *path, struct stat##suffix *found)                                                 \
	{                                                                                                              \
		return look##suffix(path, found, 0);                                                                   \
	}                                                                                                              \
	int lstat##suffix(const char *path, struct stat##suffix *found)                                                \
	{                                                                                                              \
		return look##suffix(path, found, AT_SYMLINK_NOFOLLOW);                                                 \
	}                                                                                                              \
	int __xstat##suffix(int version, const char *path, struct stat##suffix *found)                                 \
	{                                                                                                              \
		(void)version;                                                                                         \
		return look##suffix(path, found, 0);                                                                   \
	}                                                                                                              \
	int __lxstat##suffix(int version, const char *path, struct stat##suffix *found)                                \
	{                                                                                                              \
		(void)version;                                                                                         \
		return look##suffix(path, found, AT_SYMLINK_NOFOLLOW);                                                 \
	}
LOOK()
LOOK(64)

char *realpath(const char *path, char *resolved)
{
	static char *(*next)(const char *, char *);
	unsigned int minor_number;
	char end[16] = "";

	if (sscanf(path, "/sys/dev/char/254:%u/%15s", &minor_number, end) == 2 && !strcmp(end, "subsystem"))
		return resolved ? strcpy(resolved, "/sys/bus/gpio") : strdup("/sys/bus/gpio");
	if (!next)
		next = real("realpath");
	return next(path, resolved);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (fd >= FDS_MAX || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		errno = ENODEV; /* its player has gone: as a chip that was unplugged */
		return -1;
	}
	control[fd] = 1 + fd;
	return fd;
}

static int open_as(const char *name, const char *path, int flags, mode_t mode)
{
	int (*next)(const char *, int, ...) = real(name);
	struct stat64 found;

	if (!fstatat64(AT_FDCWD, path, &found, 0) && is_chip(path, found.st_mode))
		return connect_to(path);
	return next(path, flags, mode);
}

#define OPEN(name)                                                                                                     \
	int name(const char *path, int flags, ...)                                                                     \
	{                                                                                                              \
		va_list arguments;                                                                                     \
		mode_t mode = 0;                                                                                       \
		if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {                                             \
			va_start(arguments, flags);                                                                    \
			mode = va_arg(arguments, mode_t);                                                              \
			va_end(arguments);                                                                             \
		}                                                                                                      \
		return open_as(#name, path, flags, mode);                                                              \
	}
OPEN(open)
OPEN(open64)

static int real_close(int fd)
{
	static int (*next)(int);

	if (!next)
		next = real("close");
	return next(fd);
}

int close(int fd)
{
	int other = fd >= 0 && fd < FDS_MAX ? control[fd] - 1 : -1;

	if (other >= 0) {
		control[fd] = 0;
		if (other != fd)
			real_close(other);
	}
	return real_close(fd);
}

/*
 * Send one message and take its answer; up to two descriptors may come with it. A signal interrupts neither half: the
 * answer would be taken for that to the next message.
 */
static int exchange(int fd, unsigned long request, void *argument, size_t size, int fds[2])
{
	char message[4 + ARGUMENT_MAX], rights[CMSG_SPACE(2 * sizeof(int))];
	struct iovec part = {message, 4 + size};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
	struct cmsghdr *came;
	ssize_t length;
	uint32_t number = (uint32_t)request;
	int32_t failed;

	memcpy(message, &number, 4);
	memcpy(message + 4, argument, size);
	do
		length = sendmsg(fd, &header, MSG_NOSIGNAL);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return ENODEV;
	header.msg_control = rights;
	header.msg_controllen = sizeof(rights);
	do
		length = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	came = length < 0 ? NULL : CMSG_FIRSTHDR(&header);
	if (came && came->cmsg_type == SCM_RIGHTS && came->cmsg_len == CMSG_LEN(2 * sizeof(int)))
		memcpy(fds, CMSG_DATA(came), 2 * sizeof(int));
	if (length != (ssize_t)(4 + size))
		return ENODEV;
	memcpy(&failed, message, 4);
	if (!failed)
		memcpy(argument, message + 4, size);
	return failed;
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int, unsigned long, ...);
	int fds[2] = {-1, -1}, failed;
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (fd < 0 || fd >= FDS_MAX || !control[fd] || _IOC_TYPE(request) != GPIO_TYPE
	    || _IOC_SIZE(request) > ARGUMENT_MAX) {
		if (!next)
			next = real("ioctl");
		return next(fd, request, argument);
	}
	pthread_mutex_lock(&turn);
	failed = exchange(control[fd] - 1, request, argument, _IOC_SIZE(request), fds);
	pthread_mutex_unlock(&turn);
	if (!failed && _IOC_NR(request) == GET_LINE) {
		if (fds[0] < 0 || fds[0] >= FDS_MAX) {
			failed = ENODEV;
		} else {
			control[fds[0]] = 1 + fds[1];
			memcpy((char *)argument + LINE_REQUEST_FD, &fds[0], sizeof(int));
			fds[0] = fds[1] = -1; /* the caller's */
		}
	}
	if (fds[0] >= 0)
		real_close(fds[0]);
	if (fds[1] >= 0)
		real_close(fds[1]);
	if (failed) {
		errno = failed;
		return -1;
	}
	return 0;
}
