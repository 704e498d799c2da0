// Package check counts the checks of the Go programs in tests. A failed check is printed. A group
// of checks that has to stop early is one failed check.
package check

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"time"
)

// Counts has the numbers of passed and failed checks of a program.
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

// stopped is the reason why a group stopped early.
type stopped struct{ error }

// Stop ends the group of the calling goroutine.
func Stop(err error) {
	panic(stopped{err})
}

// Must returns the result of a call that has to succeed. An error ends the group.
func Must[T any](result T, err error) T {
	if err != nil {
		Stop(err)
	}
	return result
}

// Next receives from a channel. The group ends if the channel is closed or ctx ends.
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

// Until calls attempt every 20 ms until it returns true. The group ends if ctx ends.
func Until(ctx context.Context, what string, attempt func() bool) {
	for !attempt() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			Stop(fmt.Errorf("%s: %w", what, ctx.Err()))
		}
	}
}
