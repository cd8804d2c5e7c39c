// Command generator sends frames that were signed beforehand and measures their answers. It knows frames and whether an
// answer says success; what is in them is prepared_frames.py's. It costs little, so that what is measured is the server.
//
//	closed loop: each connection keeps -outstanding requests unanswered; latency counts from the sending.
//	open loop (-rate): each request has its time, kept whatever the server does; latency counts from that time, so that
//	a server that stalls is charged for all that would have come meanwhile.
//	storm (-storm): connections are opened within the measurement, -outstanding of them at once, one request each.
//	HTTPS (-ca): what is sent are whole HTTP requests, one after another on a connection that is kept.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

type options struct {
	addresses   []string
	bind        []string
	outstanding int
	rate        float64
	storm       bool
	wait        time.Duration
	answers     string
	tls         *tls.Config
}

func main() {
	addresses := flag.String("to", "", "host:port of the servers, by comma; connections take turns")
	bind := flag.String("from", "", "local addresses, by comma; each gives another 28,000 ports")
	prepared := flag.String("frames", "", "file of prepared_frames.py")
	outstanding := flag.Int("outstanding", 1, "requests that a connection keeps unanswered; in a storm, connections at once")
	rate := flag.Float64("rate", 0, "requests a second of all connections together (open loop); 0: closed loop")
	storm := flag.Bool("storm", false, "open the connections within the measurement, one request each")
	wait := flag.Duration("wait", 30*time.Second, "how long the last answers are waited for")
	answers := flag.String("answers", "", "file for the first answer of each connection, as the frames' file has bytes")
	authority := flag.String("ca", "", "PEM file of the authority that signed the servers' certificates: HTTPS is spoken")
	flag.Parse()
	if *addresses == "" || *prepared == "" {
		flag.Usage()
		os.Exit(2)
	}
	work, err := readPrepared(*prepared)
	var trusted *tls.Config
	if err == nil {
		trusted, err = trusting(*authority)
	}
	if err == nil {
		err = run(work, options{split(*addresses), split(*bind), *outstanding, *rate, *storm, *wait, *answers, trusted})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generator:", err)
		os.Exit(1)
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func run(work *prepared, o options) error {
	lines := make([]*line, len(work.connections))
	for i, frames := range work.connections {
		lines[i] = newLine(frames, work.picture)
	}
	if !o.storm {
		if err := openAll(lines, o); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stderr, "generator: begins")
	began, cpu := time.Now(), cpuSeconds()
	switch {
	case o.storm:
		runStorm(lines, o)
	case o.rate > 0:
		runOpen(lines, o, began)
	default:
		each(lines, func(_ int, l *line) { l.closedLoop(o.outstanding, o.wait) })
	}
	seconds := time.Since(began).Seconds()
	if o.answers != "" {
		if err := writeAnswers(o.answers, lines); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(sum(lines, seconds, cpuSeconds()-cpu))
}

func openAll(lines []*line, o options) error {
	var failed error
	var lock sync.Mutex
	turns := make(chan struct{}, 200) // no more at once than a server's backlog takes
	each(lines, func(i int, l *line) {
		turns <- struct{}{}
		defer func() { <-turns }()
		if err := l.open(o, i); err != nil {
			lock.Lock()
			failed = err
			lock.Unlock()
		}
	})
	return failed
}

func runStorm(lines []*line, o options) {
	turns := make(chan struct{}, o.outstanding)
	each(lines, func(i int, l *line) {
		turns <- struct{}{}
		defer func() { <-turns }()
		began := time.Now()
		if err := l.open(o, i); err != nil {
			return // its request counts as unanswered
		}
		l.one(began, o.wait)
	})
}

func runOpen(lines []*line, o options, began time.Time) {
	apart := time.Duration(float64(len(lines)) / o.rate * float64(time.Second))
	each(lines, func(i int, l *line) {
		first := began.Add(time.Duration(float64(i) / o.rate * float64(time.Second)))
		l.openLoop(first, apart, o.wait)
	})
}

func each(lines []*line, do func(int, *line)) {
	var all sync.WaitGroup
	for i, l := range lines {
		all.Add(1)
		go func() {
			defer all.Done()
			do(i, l)
		}()
	}
	all.Wait()
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}
