/*
 * What the kernel's user interface for AF_XDP has and Debian 12's headers (Linux 6.1) have not.
 * Source: include/uapi/linux/if_xdp.h and include/uapi/asm-generic/socket.h of Linux 6.18.
 */
#ifndef XSK_UAPI_H
#define XSK_UAPI_H

#include <linux/if_xdp.h>
#include <stddef.h>
#include <stdint.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif

namespace xsk {

constexpr int kMaxTxSkbBudgetOption = 9;        // XDP_MAX_TX_SKB_BUDGET, Linux 6.17
constexpr uint32_t kUmemTxMetadataLength = 1 << 2;  // XDP_UMEM_TX_METADATA_LEN, Linux 6.8
constexpr uint32_t kTxMetadataOption = 1 << 1;      // XDP_TX_METADATA
constexpr uint64_t kTxMetadataChecksum = 1 << 1;    // XDP_TXMD_FLAGS_CHECKSUM
constexpr uint32_t kPacketHeadroom = 256;           // XDP_PACKET_HEADROOM

// struct xdp_umem_reg; before Linux 6.8 the last word is padding.
struct UmemRegistration {
  uint64_t address;
  uint64_t length;
  uint32_t chunkSize;
  uint32_t headroom;
  uint32_t flags;
  uint32_t txMetadataLength;
};
static_assert(sizeof(UmemRegistration) == 32);

// struct xsk_tx_metadata, the request half. It lies directly before the frame.
struct TxMetadata {
  uint64_t flags;
  uint16_t checksumStart;
  uint16_t checksumOffset;
  uint32_t padding;
  uint64_t launchTime;
};
static_assert(sizeof(TxMetadata) == 24 && offsetof(TxMetadata, checksumStart) == 8);

}  // namespace xsk
#endif
