package traffic

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// epoch is the time of the first packet, Unix seconds.
const epoch = 1_700_000_000

// Write writes the scene as a pcap file of microseconds.
func (s Scene) Write(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<20)
	var head [24]byte
	order := binary.LittleEndian
	order.PutUint32(head[:], 0xa1b2c3d4)
	order.PutUint16(head[4:], 2)
	order.PutUint16(head[6:], 4)
	order.PutUint32(head[16:], 1<<16)
	order.PutUint32(head[20:], 1) // Ethernet
	b.Write(head[:])
	for t, frame := range s.Frames() {
		var record [16]byte
		order.PutUint32(record[:], uint32(epoch+t/1e9))
		order.PutUint32(record[4:], uint32(t%1e9/1e3))
		order.PutUint32(record[8:], uint32(len(frame)))
		order.PutUint32(record[12:], uint32(len(frame)))
		b.Write(record[:])
		if _, err := b.Write(frame); err != nil {
			return err
		}
	}
	return b.Flush()
}

// File writes the scene into dir, unless it is there, and returns its path.
func (s Scene) File(dir string) (string, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.pcap", s.Name, s.Packets))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.Create(path + ".part") // so that a half-written one is none
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := s.Write(f); err != nil {
		return "", fmt.Errorf("write scene %s: %w", s.Name, err)
	}
	return path, os.Rename(path+".part", path)
}
