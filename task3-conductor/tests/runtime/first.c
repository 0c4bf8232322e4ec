// First processes that hear of a signal in other ways than by a handler, or are not where one looks for them.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void end(void) {
    puts("heard");
    fflush(stdout);
    exit(7);
}

static void *wait_for_it(void *asked) {
    int heard;
    sigwait(asked, &heard);
    end();
    return NULL;
}

int main(int argc, char **argv) {
    sigset_t all, asked;
    pthread_t thread;
    const char *kind = argc > 1 ? argv[1] : "";
    sigfillset(&all);
    sigemptyset(&asked);
    sigaddset(&asked, SIGTERM);
    // Whoever started it may have gone.
    alarm(600);
    // Before it says that it is there.
    if (strcmp(kind, "other") && strcmp(kind, "deaf-thread-alone")) sigprocmask(SIG_BLOCK, &asked, NULL);
    puts("up");
    fflush(stdout);
    if (!strcmp(kind, "sigwait")) {
        wait_for_it(&asked);
    } else if (!strcmp(kind, "reaper")) {
        // As one does that also looks after its children.
        sigprocmask(SIG_BLOCK, &all, NULL);
        for (;;) {
            struct timespec soon = {0, 20000000};
            if (sigtimedwait(&all, NULL, &soon) == SIGTERM) end();
        }
    } else if (!strcmp(kind, "thread")) {
        pthread_create(&thread, NULL, wait_for_it, &asked);
        pause();
    } else if (!strcmp(kind, "thread-alone")) {
        pthread_create(&thread, NULL, wait_for_it, &asked);
        pthread_exit(NULL);
    } else if (!strcmp(kind, "deaf-thread-alone")) {
        sigset_t others;
        sigemptyset(&others);
        sigaddset(&others, SIGUSR1);
        sigprocmask(SIG_BLOCK, &others, NULL);
        pthread_create(&thread, NULL, wait_for_it, &others);
        pthread_exit(NULL);
    } else if (!strcmp(kind, "other")) {
        // Waits for a signal, but not for the one that asks it to end.
        sigset_t others;
        sigemptyset(&others);
        sigaddset(&others, SIGUSR1);
        sigprocmask(SIG_BLOCK, &others, NULL);
        wait_for_it(&others);
    }
    return 1;
}
