package capture

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// promiscuity holds interfaces in promiscuous mode by a socket that receives
// nothing. The kernel ends the mode with the socket, after a crash too.
type promiscuity struct {
	fd   int
	held map[int]bool // by the kernel's index
}

func openPromiscuity() (*promiscuity, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket for promiscuous mode: %w", err)
	}
	return &promiscuity{fd: fd, held: map[int]bool{}}, nil
}

// set makes these interfaces, and no others, promiscuous.
func (p *promiscuity) set(indexes []int) error {
	wanted := map[int]bool{}
	var errs []error
	for _, i := range indexes {
		wanted[i] = true
		if p.held[i] {
			continue
		}
		if err := p.member(unix.PACKET_ADD_MEMBERSHIP, i); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("set interface %d promiscuous: %w", i, err))
			continue
		}
		p.held[i] = true
	}
	for i := range p.held {
		if !wanted[i] {
			p.member(unix.PACKET_DROP_MEMBERSHIP, i) // fails where the device is gone
			delete(p.held, i)
		}
	}
	return errors.Join(errs...)
}

func (p *promiscuity) member(option, index int) error {
	return unix.SetsockoptPacketMreq(p.fd, unix.SOL_PACKET, option,
		&unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC})
}

func (p *promiscuity) close() { unix.Close(p.fd) }
