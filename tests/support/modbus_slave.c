/* A Modbus slave built on libmodbus: modbus_slave rtu DEVICE BAUD ADDRESS | modbus_slave tcp PORT
 *
 * Holding and input register n hold 1000 + n, coil and discrete input n its lowest bit; 64 of each. It says "ready" when
 * it listens, and one line for each write: "coil N V", "register N V". It ends with its standard input. */

#include <errno.h>
#include <modbus/modbus.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 64 };

static void *until_end(void *unused) {
    (void)unused;
    while (getchar() != EOF) {
    }
    exit(0);
}

static void told(const uint8_t *query, int offset) {
    int address = query[offset + 1] << 8 | query[offset + 2], value = query[offset + 3] << 8 | query[offset + 4];
    if (query[offset] == MODBUS_FC_WRITE_SINGLE_COIL)
        printf("coil %d %d\n", address, value != 0);
    else if (query[offset] == MODBUS_FC_WRITE_SINGLE_REGISTER)
        printf("register %d %d\n", address, value);
}

int main(int argc, char **argv) {
    int tcp = argc == 3 && strcmp(argv[1], "tcp") == 0, listening = -1;
    if (!tcp && !(argc == 5 && strcmp(argv[1], "rtu") == 0))
        return 2;
    modbus_t *bus = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], atoi(argv[3]), 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new(COUNT, COUNT, COUNT, COUNT);
    if (bus == NULL || map == NULL)
        return 1;
    for (int n = 0; n < COUNT; n++) {
        map->tab_registers[n] = map->tab_input_registers[n] = (uint16_t)(1000 + n);
        map->tab_bits[n] = map->tab_input_bits[n] = (uint8_t)(n & 1);
    }
    if (!tcp)
        modbus_set_slave(bus, atoi(argv[4]));
    if (tcp ? (listening = modbus_tcp_listen(bus, 1)) == -1 : modbus_connect(bus) == -1) {
        fprintf(stderr, "%s\n", modbus_strerror(errno));
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
    pthread_t watcher;
    pthread_create(&watcher, NULL, until_end, NULL);
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        if (tcp && modbus_tcp_accept(bus, &listening) == -1)
            return 1;
        for (;;) {
            int length = modbus_receive(bus, query);
            if (length > 0 && modbus_reply(bus, query, length, map) != -1)
                told(query, modbus_get_header_length(bus));
            else if (length == -1 && tcp)
                break;
        }
        modbus_close(bus);
    }
}
