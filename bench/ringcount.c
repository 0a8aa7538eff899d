/* ringcount: the limit of every AF_PACKET sensor. It walks TPACKET_V3 rings as a
 * sensor does, counts packets and bytes, and does nothing else.
 *
 *   cc -O2 -pthread -o ringcount bench/ringcount.c
 *   ringcount INTERFACE [SNAP]     SNAP: bytes of each packet to keep, 0 = all
 *
 * It says "ready" on standard output, and the counts once it gets SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
	BLOCK_SIZE = 1 << 20,
	BLOCKS = 64,          /* the sensor's default: 64 MiB in all */
	RETIRE_TIMEOUT = 64,  /* ms, likewise */
};

static volatile sig_atomic_t stopped;

static void stop(int signal) { (void)signal; stopped = 1; }

static void must(int ok, const char *what) {
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static uint8_t *open_ring(int fd, const char *interface, int snap) {
	int version = TPACKET_V3;
	must(!setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version), "TPACKET_V3");
	if (snap > 0) {
		struct sock_filter keep = BPF_STMT(BPF_RET | BPF_K, snap);
		struct sock_fprog program = {1, &keep};
		must(!setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), "filter");
	}
	struct tpacket_req3 request = {
		.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = 2048,
		.tp_frame_nr = BLOCK_SIZE / 2048 * BLOCKS,
		.tp_retire_blk_tov = RETIRE_TIMEOUT,
	};
	must(!setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request), "ring");
	void *ring = mmap(0, (size_t)BLOCK_SIZE * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	must(ring != MAP_FAILED, "map the ring");
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(interface),
	};
	must(!bind(fd, (void *)&address, sizeof address), interface);
	return ring;
}

int main(int argc, char **argv) {
	if (argc < 2) {
		fprintf(stderr, "usage: ringcount INTERFACE [SNAP]\n");
		return 2;
	}
	struct sigaction action = {.sa_handler = stop};
	sigaction(SIGTERM, &action, 0);
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	must(fd >= 0, "packet socket");
	uint8_t *ring = open_ring(fd, argv[1], argc > 2 ? atoi(argv[2]) : 0);
	puts("ready");
	fflush(stdout);

	uint64_t packets = 0, bytes = 0;
	struct pollfd readable = {.fd = fd, .events = POLLIN | POLLERR};
	for (int n = 0; !stopped;) {
		struct tpacket_block_desc *block = (void *)(ring + (size_t)n * BLOCK_SIZE);
		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) {
			poll(&readable, 1, 100);
			continue;
		}
		uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
		for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
			struct tpacket3_hdr *packet = (void *)at;
			bytes += packet->tp_len;
			at += packet->tp_next_offset;
		}
		packets += block->hdr.bh1.num_pkts;
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		n = (n + 1) % BLOCKS;
	}
	struct tpacket_stats_v3 stats;
	socklen_t size = sizeof stats;
	must(!getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size), "statistics");
	printf("packets %llu bytes %llu dropped %u\n", (unsigned long long)packets, (unsigned long long)bytes, stats.tp_drops);
	return 0;
}
