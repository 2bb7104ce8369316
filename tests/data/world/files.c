/* Asks for times of files by every function of the C library, and more, as a program that was linked dynamically.
   "files OLD NEW": prints what is told of both, what is refused, and whether somebody is waited for at each call.
   "files are FILE…": prints what is told of each, by two calls of old and by statx.
   "files written FILE": prints when that was, to the nanosecond.
   "files begun": prints for how much was waited before it began.
   "files draw WORD": takes randomness, and becomes "files WORD…" if there are more words.
   "files trace PROGRAM…": runs a program and traces it from its start. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMES = 5000 };

static void print(const char *how, int code, const struct stat *found)
{
	if (code)
		printf("%s: %s\n", how, strerror(errno));
	else
		printf("%s: %lld %lld\n", how, (long long)found->st_mtim.tv_sec, (long long)found->st_size);
}

static void ask(const char *path)
{
	struct stat found;
	int fd = open(path, O_RDONLY), dir = open("/", O_PATH);
	print("stat", stat(path, &found), &found);
	print("lstat", lstat(path, &found), &found);
	print("fstat", fstat(fd, &found), &found);
	print("fstatat", fstatat(dir, path + 1, &found, AT_SYMLINK_NOFOLLOW), &found);
	print("empty", fstatat(fd, "", &found, AT_EMPTY_PATH), &found);
	close(fd);
	close(dir);
}

static void print_whole(const char *path, const struct stat *found)
{
	printf("%s: device %u:%u links %lu size %lld blocks %lld changed %lld.%09ld\n", path,
	       major(found->st_dev), minor(found->st_dev), (unsigned long)found->st_nlink,
	       (long long)found->st_size, (long long)found->st_blocks,
	       (long long)found->st_ctim.tv_sec, found->st_ctim.tv_nsec);
}

static void are(const char *path)
{
	struct stat found;
	struct statx extended, alone;
	int fd = open(path, O_PATH | O_NOFOLLOW);
	lstat(path, &found);
	print_whole(path, &found);
	fstat(fd, &found);
	print_whole(path, &found);
	close(fd);
	statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &extended);
	statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BTIME, &alone);
	printf("%s: device %u:%u links %u size %lld blocks %lld changed %lld.%09u born %lld.%09u known %d alone %lld\n", path,
	       extended.stx_dev_major, extended.stx_dev_minor, extended.stx_nlink, (long long)extended.stx_size,
	       (long long)extended.stx_blocks, (long long)extended.stx_ctime.tv_sec, extended.stx_ctime.tv_nsec,
	       (long long)extended.stx_btime.tv_sec, extended.stx_btime.tv_nsec,
	       (extended.stx_mask & STATX_BTIME) != 0, (long long)alone.stx_btime.tv_sec);
}

static long waits(const char *path)
{
	struct rusage before, after;
	struct stat found;
	struct statx extended;
	int fd = open(path, O_RDONLY);
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < TIMES; i++) {
		fstat(fd, &found);
		stat(path, &found);
		statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &extended);
		stat("/no/such", &found);
	}
	getrusage(RUSAGE_SELF, &after);
	close(fd);
	return after.ru_nvcsw - before.ru_nvcsw;
}

static int trace(char **argv)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[0], argv);
		_exit(127);
	}
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, child, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	if (argc == 2) {
		struct rusage used;
		getrusage(RUSAGE_SELF, &used);
		printf("%ld\n", used.ru_nvcsw);
		return 0;
	}
	if (argc > 2 && strcmp(argv[1], "trace") == 0)
		return trace(argv + 2);
	if (argc > 2 && strcmp(argv[1], "draw") == 0) {
		char drawn[16];
		if (getrandom(drawn, sizeof(drawn), 0) != sizeof(drawn))
			return 1;
		if (argc > 3) {
			argv[2] = argv[0];
			execv(argv[0], argv + 2);
			return 1;
		}
		return 0;
	}
	if (argc > 2 && strcmp(argv[1], "written") == 0) {
		struct stat found;
		stat(argv[2], &found);
		printf("%lld.%09ld\n", (long long)found.st_mtim.tv_sec, found.st_mtim.tv_nsec);
		return 0;
	}
	if (argc > 2 && strcmp(argv[1], "are") == 0) {
		for (int i = 2; i < argc; i++)
			are(argv[i]);
		return 0;
	}
	ask(argv[1]);
	FILE *file = fopen(argv[2], "w");
	fputs("new\n", file);
	fflush(file);
	ask(argv[2]);
	fclose(file);
	ask("/missing");
	for (int i = 1; i < 3; i++)
		printf("%s: %s\n", argv[i], waits(argv[i]) < TIMES / 10 ? "at once" : "waits");
	return 0;
}
