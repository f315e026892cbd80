// uWebSockets as its own echo and broadcast examples have it, with limits that let 1 MiB pass and no idle timeout.
//
// Arguments: --cpu N, --deflate (shared compressor, level 6), --broadcast.

#include <App.h>

#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <string_view>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

struct PerSocketData {};

using Socket = uWS::WebSocket<false, true, PerSocketData>;

static void endWithInput() {
    std::thread([] {
        char byte;
        while (read(STDIN_FILENO, &byte, 1) > 0) {
        }
        _exit(0);
    }).detach();
}

static void liftFileLimit() {
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

int main(int count, char **arguments) {
    bool deflate = false, broadcast = false;
    for (int i = 1; i < count; i++) {
        std::string_view argument = arguments[i];
        if (argument == "--deflate") {
            deflate = true;
        } else if (argument == "--broadcast") {
            broadcast = true;
        } else if (argument == "--cpu" && i + 1 < count) {
            pin(atoi(arguments[++i]));
        } else {
            fprintf(stderr, "uws_echo: no such argument: %s\n", arguments[i]);
            return 2;
        }
    }
    liftFileLimit();
    endWithInput();

    uWS::App app;
    app.ws<PerSocketData>("/*", {
        .compression = deflate ? uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR) : uWS::DISABLED,
        .maxPayloadLength = 1 << 20,
        .idleTimeout = 0,
        .maxBackpressure = 64 << 20,
        .sendPingsAutomatically = false,
        .open = [broadcast](Socket *socket) {
            if (broadcast) {
                socket->subscribe("all");
            }
        },
        .message = [deflate, broadcast, &app](Socket *socket, std::string_view message, uWS::OpCode opcode) {
            if (broadcast) {
                app.publish("all", message, opcode, deflate);
            } else {
                socket->send(message, opcode, deflate);
            }
        },
    });
    app.listen("127.0.0.1", 0, [](us_listen_socket_t *listener) {
        if (!listener) {
            exit(1);
        }
        printf("listening on 127.0.0.1:%d\n", us_socket_local_port(0, reinterpret_cast<us_socket_t *>(listener)));
        fflush(stdout);
    });
    app.run();
}
