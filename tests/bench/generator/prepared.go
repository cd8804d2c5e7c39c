package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

const magic = "PREPARED1\n"

// frame is the bytes of one request. Where it has a picture, that stands between the two parts: a picture is not signed
// (S4), so that all frames share one.
type frame struct {
	head, tail  []byte
	withPicture bool
}

type prepared struct {
	picture     []byte
	connections [][]frame
}

// readPrepared reads a file of prepared_frames.py; numbers are little-endian, of 32 bits.
func readPrepared(path string) (*prepared, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	start := make([]byte, len(magic))
	if _, err = io.ReadFull(in, start); err != nil || string(start) != magic {
		return nil, errors.New(path + " is no file of prepared_frames.py")
	}
	work := &prepared{}
	if work.picture, err = bytesOf(in); err != nil {
		return nil, err
	}
	connections, err := number(in)
	if err != nil {
		return nil, err
	}
	work.connections = make([][]frame, connections)
	for i := range work.connections {
		count, err := number(in)
		if err != nil {
			return nil, err
		}
		work.connections[i] = make([]frame, count)
		for j := range work.connections[i] {
			if work.connections[i][j], err = frameOf(in); err != nil {
				return nil, err
			}
		}
	}
	return work, nil
}

func frameOf(in *bufio.Reader) (f frame, err error) {
	if f.head, err = bytesOf(in); err != nil {
		return f, err
	}
	if f.tail, err = bytesOf(in); err != nil {
		return f, err
	}
	f.withPicture = len(f.tail) > 0
	return f, nil
}

func bytesOf(in *bufio.Reader) ([]byte, error) {
	size, err := number(in)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	_, err = io.ReadFull(in, data)
	return data, err
}

func number(in *bufio.Reader) (uint32, error) {
	var data [4]byte
	_, err := io.ReadFull(in, data[:])
	return binary.LittleEndian.Uint32(data[:]), err
}

// writeAnswers writes the first answer of each line, empty where there was none.
func writeAnswers(path string, lines []*line) error {
	var out []byte
	for _, l := range lines {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(l.answer)))
		out = append(out, l.answer...)
	}
	return os.WriteFile(path, out, 0o600)
}
