/* Task 1 with clone(2): child 1 is born into new namespaces, child 2 is taken there.
 *
 * Most programs of the zoo are this one with a single change. */
#define _GNU_SOURCE
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[1 << 18];
static int ready[2]; /* child 1 writes a byte when it has told its name */

static void must(int result, const char *what)
{
    if (result == -1) {
        perror(what);
        exit(1);
    }
}

static void introduce(const char *who)
{
    char host[HOST_NAME_MAX + 1];
    must(gethostname(host, sizeof host), "gethostname");
    printf("%s Process PID: %d\n", who, (int)getpid());
    printf("%s Hostname: %s\n", who, host);
    printf("----------------------------------------\n");
    fflush(stdout); /* nothing unwritten may be inherited by the next child */
}

static int child1(void *unused)
{
    (void)unused;
    must(sethostname("Child1Hostname", strlen("Child1Hostname")), "sethostname");
    introduce("Child1");
    must(write(ready[1], "r", 1), "write");
    pause();
    return 0;
}

static int child2(int pidfd)
{
    must(setns(pidfd, CLONE_NEWUTS), "setns uts");
    introduce("Child2");
    return 0;
}

int main(void)
{
    char byte;

    printf("----------------------------------------\n");
    introduce("Parent");

    must(pipe(ready), "pipe");
    pid_t first = clone(child1, stack + sizeof stack, CLONE_NEWUTS | CLONE_NEWPID | SIGCHLD, NULL);
    must(first, "clone");
    must(read(ready[0], &byte, 1), "read");
    introduce("Parent");

    int pidfd = syscall(SYS_pidfd_open, first, 0);
    must(pidfd, "pidfd_open");
    must(setns(pidfd, CLONE_NEWPID), "setns pid");
    pid_t second = fork();
    must(second, "fork");
    if (second == 0)
        exit(child2(pidfd));
    must(waitpid(second, NULL, 0), "wait for child 2");
    introduce("Parent");

    must(kill(first, SIGKILL), "kill");
    must(waitpid(first, NULL, 0), "wait for child 1");
    return 0;
}
