// First processes that hear of a signal in other ways than by a handler, or are not where one looks for them.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Not on a stack: the thread that waits for one of these may outlive the first.
static sigset_t all, awaited;

static void end(void) {
    puts("heard");
    fflush(stdout);
    exit(7);
}

static void *wait_for_it(void *nothing) {
    int heard;
    sigwait(&awaited, &heard);
    end();
    return nothing;
}

// first sigwait|reaper|thread|thread-alone [deaf]: waits for SIGTERM; a deaf one for another signal.
int main(int argc, char **argv) {
    pthread_t thread;
    const char *kind = argc > 1 ? argv[1] : "";
    sigfillset(&all);
    sigemptyset(&awaited);
    sigaddset(&awaited, argc > 2 ? SIGUSR1 : SIGTERM);
    // Whoever started it may have gone.
    alarm(600);
    // Before it says that it is there.
    sigprocmask(SIG_BLOCK, &awaited, NULL);
    puts("up");
    fflush(stdout);
    if (!strcmp(kind, "reaper")) {
        // As one does that also looks after its children.
        sigprocmask(SIG_BLOCK, &all, NULL);
        for (;;) {
            struct timespec soon = {0, 20000000};
            if (sigtimedwait(&all, NULL, &soon) == SIGTERM) end();
        }
    }
    if (!strncmp(kind, "thread", 6)) {
        pthread_create(&thread, NULL, wait_for_it, NULL);
        if (!strcmp(kind, "thread-alone")) pthread_exit(NULL);
        pause();
    }
    wait_for_it(NULL);
    return 1;
}
