package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// line is one terminal's connection: its frames in order, and when each was sent and answered.
type line struct {
	frames    []frame
	picture   []byte
	socket    net.Conn
	reader    *bufio.Reader
	sentAt    []time.Time
	latencies []time.Duration
	answer    []byte // the first one
	refused   int
	https     bool
}

func newLine(frames []frame, picture []byte) *line {
	return &line{frames: frames, picture: picture, sentAt: make([]time.Time, len(frames))}
}

func (l *line) open(o options, number int) error {
	dialer := net.Dialer{Timeout: 30 * time.Second}
	if len(o.bind) > 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(o.bind[number%len(o.bind)])}
	}
	var socket net.Conn
	var err error
	if address := o.addresses[number%len(o.addresses)]; o.tls != nil {
		socket, err = tls.DialWithDialer(&dialer, "tcp", address, o.tls)
	} else {
		socket, err = dialer.Dial("tcp", address)
	}
	if err != nil {
		return err
	}
	l.socket, l.reader, l.https = socket, bufio.NewReaderSize(socket, 4096), o.tls != nil
	return nil
}

// send writes the frames from..to in one call.
func (l *line) send(from, to int) error {
	buffers := make(net.Buffers, 0, 3*(to-from))
	for _, f := range l.frames[from:to] {
		buffers = append(buffers, f.head)
		if f.withPicture {
			buffers = append(buffers, l.picture)
		}
		buffers = append(buffers, f.tail)
	}
	_, err := buffers.WriteTo(l.socket)
	return err
}

func (l *line) closedLoop(outstanding int, wait time.Duration) {
	sent := min(outstanding, len(l.frames))
	l.stamp(0, sent, time.Now())
	if l.send(0, sent) != nil {
		return
	}
	for len(l.latencies) < len(l.frames) {
		l.socket.SetReadDeadline(time.Now().Add(wait))
		if l.receive() != nil {
			return
		}
		if l.reader.Buffered() > 0 && sent-len(l.latencies) > 0 {
			continue // answers that came together are made good together
		}
		next := min(len(l.latencies)+outstanding, len(l.frames))
		l.stamp(sent, next, time.Now())
		if l.send(sent, next) != nil {
			return
		}
		sent = next
	}
}

func (l *line) openLoop(first time.Time, apart, wait time.Duration) {
	for i := range l.frames {
		l.sentAt[i] = first.Add(time.Duration(i) * apart)
	}
	go func() {
		for i := range l.frames {
			time.Sleep(time.Until(l.sentAt[i]))
			if l.send(i, i+1) != nil {
				return
			}
		}
	}()
	l.socket.SetReadDeadline(l.sentAt[len(l.frames)-1].Add(wait))
	for range l.frames {
		if l.receive() != nil {
			return
		}
	}
}

// one sends the first frame and waits for its answer.
func (l *line) one(began time.Time, wait time.Duration) {
	l.sentAt[0] = began
	l.socket.SetReadDeadline(began.Add(wait))
	if l.send(0, 1) == nil {
		_ = l.receive()
	}
}

func (l *line) stamp(from, to int, at time.Time) {
	for i := from; i < to; i++ {
		l.sentAt[i] = at
	}
}

// receive takes one answer. Pushed commands are not expected here and would be counted as answers.
func (l *line) receive() error {
	read, succeeded := l.readFrame, success
	if l.https {
		read, succeeded = l.readHTTP, successHTTP
	}
	message, err := read()
	if err != nil {
		return err
	}
	l.latencies = append(l.latencies, time.Since(l.sentAt[len(l.latencies)]))
	if l.answer == nil {
		l.answer = message
	}
	if !succeeded(message) {
		l.refused++
	}
	return nil
}

func (l *line) readFrame() ([]byte, error) {
	size, err := binary.ReadUvarint(l.reader)
	if err != nil {
		return nil, err
	}
	if size > 1<<20 {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	message := make([]byte, size)
	_, err = io.ReadFull(l.reader, message)
	return message, err
}

// success reads field 2 of the answer, a bool, which stands there only where it is true (M5).
func success(message []byte) bool {
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		if n <= 0 {
			return false
		}
		value, m := binary.Uvarint(message[n:])
		if m <= 0 {
			return false
		}
		rest := n + m
		if key&7 == 2 {
			rest += int(value)
		} else if key>>3 == 2 {
			return value == 1
		}
		if rest > len(message) {
			return false
		}
		message = message[rest:]
	}
	return false
}
