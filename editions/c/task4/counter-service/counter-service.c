// A counter that is asked over HTTP, one request after the other.
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    unsigned long counter = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 8080)};
    int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, 128)) {
        perror("counter");
        return 1;
    }
    for (;;) {
        char request[4096], answer[128];
        int client = accept(server, 0, 0);
        ssize_t length = read(client, request, sizeof request - 1);
        request[length > 0 ? length : 0] = 0;
        const char *status = "200 OK";
        unsigned long number = counter;
        if (!strncmp(request, "GET /get_and_increment_counter ", 31)) {
            counter++;
        } else if (!strncmp(request, "GET /reset_counter ", 19)) {
            number = counter = 1;
        } else if (strncmp(request, "GET /get_counter ", 17)) {
            status = "404 Not Found";
        }
        snprintf(answer, sizeof answer, "HTTP/1.0 %s\r\nContent-Type: text/plain\r\n\r\n%lu", status, number);
        write(client, answer, strlen(answer));
        close(client);
    }
}
