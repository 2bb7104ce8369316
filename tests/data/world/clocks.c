/* Prints what each way of reading the clock says, and whether waiting until a moment of it works. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void show(const char *name, struct timespec t) { printf("%s %lld.%09ld\n", name, (long long)t.tv_sec, t.tv_nsec); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int woken;

static void *wake(void *unused) {
    usleep(50000);
    pthread_mutex_lock(&lock);
    woken = 1;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&lock);
    return unused;
}

int main(void) {
    struct timespec t;
    struct timeval v;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t), show("clock_gettime", t);
    clock_gettime(CLOCK_REALTIME, &t), show("vdso_clock_gettime", t);
    syscall(SYS_clock_gettime, CLOCK_REALTIME_COARSE, &t), show("coarse", t);
    clock_gettime(CLOCK_REALTIME_COARSE, &t), show("vdso_coarse", t);
    clock_gettime(CLOCK_TAI, &t), show("tai", t);
    syscall(SYS_gettimeofday, &v, NULL), printf("gettimeofday %lld.%06ld\n", (long long)v.tv_sec, (long)v.tv_usec);
    gettimeofday(&v, NULL), printf("vdso_gettimeofday %lld.%06ld\n", (long long)v.tv_sec, (long)v.tv_usec);
#ifdef SYS_time
    printf("time %ld\n", syscall(SYS_time, NULL));
#else
    printf("time %lld\n", (long long)time(NULL));
#endif
    printf("vdso_time %lld\n", (long long)time(NULL));

    double start = now();
    usleep(20000);
    printf("monotonic %s\n", now() - start >= 0.02 ? "ok" : "stands");

    start = now();
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 1, t.tv_nsec = 100000000; /* in a tenth of a second and a nanosecond */
    int slept = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
    double took = now() - start;
    printf("sleep_until %s\n", slept == 0 && took >= 0.1 && took < 5 ? "ok" : "wrong");

    int word = 0;
    start = now();
    long got = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY);
    took = now() - start;
    printf("futex_until %s\n", got == -1 && errno == ETIMEDOUT && took >= 0.1 && took < 5 ? "ok" : "wrong");

    pthread_t thread;
    pthread_create(&thread, NULL, wake, NULL);
    t.tv_sec += 60;
    start = now();
    pthread_mutex_lock(&lock);
    int waited = 0;
    while (!woken && waited == 0) waited = pthread_cond_timedwait(&cond, &lock, &t);
    pthread_mutex_unlock(&lock);
    took = now() - start;
    printf("cond_woken %s\n", waited == 0 && woken && took < 5 ? "ok" : "wrong");
    return 0;
}
