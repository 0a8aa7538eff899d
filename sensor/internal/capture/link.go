package capture

// ARP hardware types (linux/if_arp.h): the kernel's name for a link type.
const (
	arphrdEther    = 1
	arphrdPPP      = 512
	arphrdRawIP    = 519
	arphrdTunnel   = 768
	arphrdTunnel6  = 769
	arphrdLoopback = 772
	arphrdSIT      = 776
	arphrdIPGRE    = 778
	arphrdIP6GRE   = 823
	arphrdNone     = 0xfffe
	arphrdVoid     = 0xffff
)

// Link types of the pcap registry that live packets have.
const (
	linkEthernet = 1
	linkRaw      = 101
	linkUnknown  = 0xffff
)

// linkOf says what the frames of a device of that hardware type begin with.
func linkOf(hatype uint16) uint16 {
	switch hatype {
	case arphrdEther, arphrdLoopback:
		return linkEthernet
	case arphrdNone, arphrdVoid, arphrdPPP, arphrdRawIP, arphrdTunnel, arphrdTunnel6, arphrdSIT, arphrdIPGRE, arphrdIP6GRE:
		return linkRaw
	}
	return linkUnknown
}
