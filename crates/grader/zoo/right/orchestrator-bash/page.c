// A page that greets each visitor with a number from the counter at the URL that it is given.
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in counter = {.sin_family = AF_INET};

// The next number, or 0 when there is none to be had.
static unsigned long ask(void) {
    static const char request[] = "GET /get_and_increment_counter HTTP/1.0\r\n\r\n";
    struct timeval patience = {.tv_sec = 1};
    char answer[1024] = "";
    size_t length = 0;
    ssize_t more = 0;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (!connect(server, (struct sockaddr *)&counter, sizeof counter)) {
        write(server, request, strlen(request));
        while ((more = read(server, answer + length, sizeof answer - 1 - length)) > 0) length += more;
    }
    close(server);
    char *body = strstr(answer, "\r\n\r\n");
    return body ? strtoul(body + 4, 0, 10) : 0;
}

int main(int argc, char **argv) {
    char address[64] = "";
    int port = 8080;
    if (argc < 2 || sscanf(argv[1], "http://%63[^:/]:%d", address, &port) < 1) {
        fprintf(stderr, "usage: page http://ADDRESS:PORT/\n");
        return 2;
    }
    counter.sin_port = htons(port);
    counter.sin_addr.s_addr = inet_addr(address);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, 128)) {
        perror("page");
        return 1;
    }
    for (;;) {
        char request[4096], body[256], answer[512];
        int client = accept(server, 0, 0);
        ssize_t length = read(client, request, sizeof request - 1);
        request[length > 0 ? length : 0] = 0;
        const char *status = "200 OK";
        if (!strncmp(request, "GET /health ", 12)) {
            snprintf(body, sizeof body, "well\n");
        } else if (strncmp(request, "GET / ", 6)) {
            status = "404 Not Found";
            snprintf(body, sizeof body, "no such page\n");
        } else {
            unsigned long number = ask();
            if (number) {
                snprintf(body, sizeof body, "Welcome! %lu visits so far, yours included.\n", number);
            } else {
                status = "502 Bad Gateway";
                snprintf(body, sizeof body, "The counter does not answer.\n");
            }
        }
        snprintf(answer, sizeof answer, "HTTP/1.0 %s\r\nContent-Type: text/plain\r\n\r\n%s", status, body);
        write(client, answer, strlen(answer));
        close(client);
    }
}
