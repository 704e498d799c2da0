// Package check counts the checks of the Go programs in tests: a failed one is printed, and a group of checks
// that cannot go on is one failed check.
package check

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"time"
)

// Counts is what a program has checked so far.
type Counts struct {
	group  string
	last   string
	passed int
	failed int
}

// Equal counts one check. got and should are compared with reflect.DeepEqual.
func (c *Counts) Equal(name string, got, should any) {
	c.last = name
	if reflect.DeepEqual(got, should) {
		c.passed++
		return
	}
	c.failed++
	fmt.Printf("FAILED %s, %s: %.600s should be %.600s\n", c.group, name, text(got), text(should))
}

func text(value any) string {
	if err, ok := value.(error); ok {
		return fmt.Sprintf("error %q", err)
	}
	return fmt.Sprintf("%#v", value)
}

// True counts one check.
func (c *Counts) True(name string, holds bool) {
	c.Equal(name, holds, true)
}

// Group runs checks that depend on each other. They get a context with this time limit.
func (c *Counts) Group(name string, limit time.Duration, run func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c.group, c.last = name, "the beginning"
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case stopped:
			c.Equal("stopped after "+c.last, reason.error, nil)
		default:
			panic(reason)
		}
	}()
	run(ctx)
}

// Exit prints the line that tests/run.sh counts and ends the process.
func (c *Counts) Exit(program string) {
	fmt.Printf("%s: %d passed, %d failed\n", program, c.passed, c.failed)
	if c.failed > 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

// The reason why a group cannot go on.
type stopped struct{ error }

// Stop ends the group of the calling goroutine.
func Stop(err error) {
	panic(stopped{err})
}

// Must returns the answer of a call that has to succeed, and ends the group if it failed.
func Must[T any](answer T, err error) T {
	if err != nil {
		Stop(err)
	}
	return answer
}

// Next receives from a channel. The end of the channel and of ctx end the group.
func Next[T any](ctx context.Context, channel <-chan T) T {
	select {
	case value, open := <-channel:
		if !open {
			Stop(fmt.Errorf("the channel of %T is closed", value))
		}
		return value
	case <-ctx.Done():
		Stop(ctx.Err())
		panic("unreachable")
	}
}

// Until calls attempt until it returns true, with 20 ms between. The end of ctx ends the group.
func Until(ctx context.Context, what string, attempt func() bool) {
	for !attempt() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			Stop(fmt.Errorf("%s: %w", what, ctx.Err()))
		}
	}
}
