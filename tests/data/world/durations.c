/* What clocks of durations say. "first": the first reading of two of them. "names": two temporary files. "always N": N
   threads and a process besides read one again and again until it is where the kernel's is, and count what must not be. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LATEST 1210000000L /* nanoseconds that a clock is ahead at most, and some more */

static struct shared {
    atomic_long latest; /* that anybody read */
    atomic_long backwards, early, late, readings;
} *all;

static long nanos(struct timespec t) { return t.tv_sec * 1000000000L + t.tv_nsec; }

static long program(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return nanos(t);
}

static long kernel(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return nanos(t);
}

static void *read_it(void *unused) {
    long first = 0, count = 0, now, last = 0, before, after;
    do {
        long known = atomic_load(&all->latest);
        before = kernel();
        now = program(CLOCK_MONOTONIC);
        after = kernel();
        if (!first) first = now;
        if (now < known || now < last) all->backwards++;
        if (now < before) all->early++;
        if (now > after + LATEST) all->late++;
        last = now;
        for (known = atomic_load(&all->latest); known < now && !atomic_compare_exchange_weak(&all->latest, &known, now);) {}
    } while (++count < 10000 || after < first + 50000000);
    if (now > after) all->late++; /* it never became the kernel's */
    all->readings += count;
    return unused;
}

static void show(const char *name, clockid_t clock) {
    long now = program(clock);
    printf("%s %ld.%09ld\n", name, now / 1000000000, now % 1000000000);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "first")) {
        show("monotonic", CLOCK_MONOTONIC), show("boottime", CLOCK_BOOTTIME);
        show("later", CLOCK_MONOTONIC);
        return 0;
    }
    if (!strcmp(what, "names")) {
        for (int i = 0; i < 2; i++) {
            char name[] = "/tmp/XXXXXX";
            if (mkstemp(name) < 0) return perror("mkstemp"), 1;
            puts(name);
        }
        return 0;
    }
    int threads = count > 2 ? atoi(words[2]) : 0;
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return perror("mmap"), 1;
    pthread_t ids[64];
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, read_it, NULL);
    if (!threads) program(CLOCK_MONOTONIC); /* a child has a copy of what its parent knows by now */
    pid_t child = threads ? 0 : fork();
    if (!threads) {
        read_it(NULL);
        if (!child) _exit(0);
        waitpid(child, NULL, 0);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    printf("backwards %ld early %ld late %ld enough %d\n", all->backwards, all->early, all->late, all->readings >= 20000);
    return 0;
}
