package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A recording is a capture file in the making.
type recording struct {
	bytes.Buffer
	frames int
}

// Link types of capture files.
const (
	linkEthernet = 1
	linkUSB      = 220
)

func newRecording(link uint32) *recording {
	r := &recording{}
	for _, v := range []any{uint32(0xa1b2c3d4), uint16(2), uint16(4), int32(0), uint32(0), uint32(1 << 18), link} {
		r.put(v)
	}
	return r
}

func (r *recording) put(v any) {
	if err := binary.Write(r, binary.LittleEndian, v); err != nil {
		panic(err) // only for a value without a fixed size
	}
}

// frame adds a frame, a millisecond after the one before.
func (r *recording) frame(data []byte) {
	us := r.frames * 1000
	for _, v := range []int{1_700_000_000 + us/1_000_000, us % 1_000_000, len(data), len(data)} {
		r.put(uint32(v))
	}
	r.Write(data)
	r.frames++
}

// TCP flags.
const (
	fin = 1 << iota
	syn
	_
	psh
	ack
)

// segment is a frame with a TCP segment, whose checksums nobody looks at.
func segment(from, to [4]byte, fromPort, toPort uint16, flags byte, seq uint32, payload string) []byte {
	frame := make([]byte, 14+20+20, 14+20+20+len(payload))
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	ip := frame[14:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	ip[8], ip[9] = 64, 6
	copy(ip[12:], from[:])
	copy(ip[16:], to[:])
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, fromPort)
	binary.BigEndian.PutUint16(tcp[2:], toPort)
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12], tcp[13] = 5<<4, flags
	return append(frame, payload...)
}

// browse adds a connection with an HTTP request for a host; the answer has one
// segment of body bytes.
func (r *recording) browse(port uint16, hostName string, body int) {
	client, server := [4]byte{192, 0, 2, 1}, [4]byte{198, 51, 100, 1}
	request := "GET / HTTP/1.1\r\nHost: " + hostName + "\r\n\r\n"
	r.frame(segment(client, server, port, 80, syn, 100, ""))
	r.frame(segment(server, client, 80, port, syn|ack, 200, ""))
	r.frame(segment(client, server, port, 80, psh|ack, 101, request))
	r.frame(segment(server, client, 80, port, psh|ack, 201, string(make([]byte, body))))
	r.frame(segment(client, server, port, 80, fin|ack, 101+uint32(len(request)), ""))
	r.frame(segment(server, client, 80, port, fin|ack, 201+uint32(body), ""))
}

// stroll is a recording of connections to two hosts: 4 to a.example and 2 to
// b.example.
func stroll() *recording {
	r := newRecording(linkEthernet)
	for i := range 6 {
		r.browse(uint16(40000+i), []string{"a.example", "a.example", "b.example"}[i%3], 1000)
	}
	return r
}

func (r *recording) save(t testing.TB) string {
	t.Helper()
	path := filepath.Join(tempDir(t), fmt.Sprintf("%d.pcap", r.frames))
	if err := os.WriteFile(path, r.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
