/* What runs in the container: tells who it is, what it sees, and computes. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void list_root(void)
{
    DIR *root = opendir("/");
    if (!root) {
        perror("/");
        exit(1);
    }
    printf("_ _ _ _ _ _ _ _ _ _ _ _ _ _\n");
    printf("Files/Directories in root directory:\n");
    for (struct dirent *entry; (entry = readdir(root));)
        printf("%s\n", entry->d_name);
    printf("_ _ _ _ _ _ _ _ _ _ _ _ _ _\n");
    closedir(root);
}

static void rename_host(void)
{
    char name[HOST_NAME_MAX + 1];
    if (sethostname("new_hostname", strlen("new_hostname")) || gethostname(name, sizeof name)) {
        perror("hostname");
        exit(1);
    }
    printf("Hostname within container: %s\n", name);
}

static void benchmark(void)
{
    struct timespec from, to;
    unsigned long sum = 0;

    printf("Computation Benchmark:\n");
    fflush(stdout);
    clock_gettime(CLOCK_MONOTONIC, &from);
    srand(10111);
    for (int i = 0; i < 10000; i++)
        for (int j = 0; j < 10000; j++)
            sum += rand();
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("Time Taken: %ld ms\n", (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
    printf("Value (Ignore): %lu\n", sum);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: container_prog subtask1|subtask2|subtask3\n");
        return 2;
    }
    printf("Process PID: %d\n", (int)getpid());
    fflush(stdout); /* nothing unwritten may be inherited by the child */
    pid_t child = fork();
    if (child == 0) {
        printf("Child Process PID: %d\n", (int)getpid());
        return 0;
    }
    if (child == -1 || waitpid(child, NULL, 0) == -1) {
        perror("child");
        return 1;
    }
    list_root();
    if (strcmp(argv[1], "subtask2") == 0)
        rename_host();
    if (strcmp(argv[1], "subtask1") != 0)
        benchmark();
    return 0;
}
