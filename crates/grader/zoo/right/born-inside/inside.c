/* Starts 2c with one clone3(2). On cgroup v2 the child is born in the cgroup; on v1 it enters it before it execs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP2_SUPER_MAGIC 0x63677270

static void must(long result, const char *what)
{
    if (result == -1) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct statfs kind;
    int status;

    if (argc != 3)
        return 2;
    int group = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(group, argv[1]);
    must(fstatfs(group, &kind), argv[1]);
    int v2 = kind.f_type == CGROUP2_SUPER_MAGIC;
    struct clone_args arguments = {
        .flags = CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | (v2 ? CLONE_INTO_CGROUP : 0),
        .exit_signal = SIGCHLD,
        .cgroup = v2 ? group : 0,
    };
    pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
    must(child, "clone3");
    if (child == 0) {
        if (!v2) {
            int procs = openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
            must(procs, "cgroup.procs");
            must(write(procs, "0", 1), "cgroup.procs"); /* 0: whoever writes it */
        }
        must(chroot(argv[2]), argv[2]);
        must(chdir("/"), "/");
        execl("/container_prog", "/container_prog", "subtask3", (char *)NULL);
        must(-1, "/container_prog");
    }
    must(waitpid(child, &status, 0), "wait");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
