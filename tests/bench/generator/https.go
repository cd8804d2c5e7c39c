package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
)

// trusting is the TLS of connections whose server has a certificate of this authority; nil where no file is named.
func trusting(authority string) (*tls.Config, error) {
	if authority == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(authority + " holds no certificate")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// readHTTP gives the body of one answer. The requests were written whole by prepared_requests.py, so that a connection
// is kept and costs no more here than one of frames.
func (l *line) readHTTP() ([]byte, error) {
	answer, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// successHTTP: every answer of task-api has status 200, errors too (E5), and is compact JSON (S5).
func successHTTP(body []byte) bool {
	return bytes.Contains(body, []byte(`"success":true`))
}
