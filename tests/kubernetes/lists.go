package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"libkv/tests/check"
)

// pages lists in pages of 10 during writes. All pages must have the revision of the first.
func pages(ctx context.Context, s *setup, c *check.Counts) {
	for _, server := range []*apiServer{s.cached, s.uncached} {
		fill(ctx, s.cached, "page", 35)
		should := check.Must(server.list(ctx))
		first := check.Must(server.list(ctx, "limit", "10"))
		c.Equal(server.name+": the first page", first.names(), should.names()[:10])
		c.Equal(server.name+": the remaining items", first.Metadata.RemainingItemCount, 25)
		changed := should.Items[20]
		changed.Spec.Number = 1000
		check.Must(s.cached.update(ctx, changed))
		check.Must(s.cached.create(ctx, note("page-020-new", "page", 0)))
		check.Must(0, s.cached.delete(ctx, "page-030"))
		all, page := first.names(), first
		for page.Metadata.Continue != "" {
			page = check.Must(server.list(ctx, "limit", "10", "continue", page.Metadata.Continue))
			c.Equal(server.name+": the revision of a page", page.Metadata.ResourceVersion, first.Metadata.ResourceVersion)
			all = append(all, page.names()...)
		}
		c.Equal(server.name+": all pages together", all, should.names())
		check.Must(0, s.cached.clear(ctx))
	}
}

func listsOfARevision(ctx context.Context, s *setup, c *check.Counts) {
	fill(ctx, s.cached, "old", 25)
	before := check.Must(s.uncached.list(ctx))
	at := before.Metadata.ResourceVersion
	check.Must(0, s.cached.delete(ctx, "old-003"))
	changed := before.Items[7]
	changed.Spec.Number = 70
	now := check.Must(s.cached.update(ctx, changed))
	for _, server := range []*apiServer{s.cached, s.uncached} {
		exact := check.Must(server.list(ctx, "resourceVersion", at, "resourceVersionMatch", "Exact"))
		c.Equal(server.name+": exactly a revision", []any{exact.names(), exact.Metadata.ResourceVersion},
			[]any{before.names(), at})
		newer := check.Must(server.list(ctx, "resourceVersion", now.Metadata.ResourceVersion,
			"resourceVersionMatch", "NotOlderThan"))
		c.Equal(server.name+": not older than a revision", newer.names(), check.Must(s.uncached.list(ctx)).names())
		_, err := server.list(ctx, "resourceVersion", fmt.Sprint(now.revision()+1000), "resourceVersionMatch", "NotOlderThan")
		c.Equal(server.name+": a revision that does not exist yet", code(err), http.StatusGatewayTimeout)
		selected := check.Must(server.list(ctx, "labelSelector", "group=other"))
		c.Equal(server.name+": a selector", selected.names(), []string{})
	}
}

// A list without a resourceVersion has all writes that were finished before it. The API server
// reads it from its cache if the version of the store supports progress requests.
func listsFromTheCache(ctx context.Context, s *setup, c *check.Counts) {
	fromCache := func() float64 {
		return metric(check.Must(s.cached.raw(ctx, "GET", "/metrics", nil)), "apiserver_watch_cache_consistent_read_total",
			`resource="notes"`, `success="true"`, `fallback="false"`)
	}
	fill(ctx, s.cached, "cache", 20)
	before, missing := fromCache(), 0
	for i := range 20 {
		name := fmt.Sprintf("new-%02d", i)
		// written through the other server, so that the cache gets it only by its watch
		check.Must(s.uncached.create(ctx, note(name, "cache", i)))
		if !slices.Contains(check.Must(s.cached.list(ctx)).names(), fmt.Sprintf("%s=%d", name, i)) {
			missing++
		}
	}
	c.Equal("lists without the last write", missing, 0)
	c.Equal("consistent lists from the cache", fromCache()-before, 20.0)
}

// metric sums the samples of a metric whose labels contain all of these.
func metric(text []byte, name string, labels ...string) (sum float64) {
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, name+"{") || slices.ContainsFunc(labels, func(label string) bool {
			return !strings.Contains(line, label)
		}) {
			continue
		}
		value, _ := strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:], 64)
		sum += value
	}
	return sum
}

// The history of some objects, by name: the revisions at which each was written.
type history struct {
	mutex     sync.Mutex
	revisions map[string][]int64
}

func (h *history) add(o object) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.revisions[o.Metadata.Name] = append(h.revisions[o.Metadata.Name], o.revision())
}

// differences returns the objects of a list that differ from the state at the list's revision.
func (h *history) differences(l list) []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	texts, at := []string{}, revision(l.Metadata.ResourceVersion)
	for _, o := range l.Items {
		should := int64(0)
		for _, written := range h.revisions[o.Metadata.Name] {
			if written <= at {
				should = written
			}
		}
		if o.revision() != should {
			texts = append(texts, fmt.Sprintf("%s is of %d, at %d it was of %d", o.Metadata.Name, o.revision(), at, should))
		}
	}
	return texts
}

// writeLarge creates 40 objects of 200 kB: the store sends a list of 8 MB in several messages.
func writeLarge(ctx context.Context, s *setup) *history {
	h := &history{revisions: map[string][]int64{}}
	for i := range 40 {
		o := note(fmt.Sprintf("large-%02d", i), "large", 0)
		o.Spec.Text = strings.Repeat("x", 200_000)
		h.add(check.Must(s.uncached.create(ctx, o)))
	}
	return h
}

// keepWriting updates the first and the last objects alternately until the returned function is
// called.
func keepWriting(ctx context.Context, s *setup, h *history) (stop func() error) {
	last, done := make(chan struct{}), make(chan error, 1)
	patch := func(i int) error {
		name := fmt.Sprintf("large-%02d", []int{39, 0, 20, 38}[i%4])
		number := map[string]any{"spec": map[string]any{"number": i}}
		o, err := call[object](ctx, &s.uncached.client, "PATCH", notes+"/"+name, number)
		if err == nil {
			h.add(o)
		}
		return err
	}
	go func() {
		for i := 1; ; i++ {
			select {
			case <-last:
				done <- nil
				return
			default:
			}
			if err := patch(i); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() error {
		close(last)
		return check.Next(ctx, done)
	}
}

// A list from the store has the content of its revision, even if objects are written meanwhile.
func listsDuringWrites(ctx context.Context, s *setup, c *check.Counts) {
	h := writeLarge(ctx, s)
	stop := keepWriting(ctx, s, h)
	lists := []list{}
	for range 10 {
		lists = append(lists, check.Must(s.uncached.list(ctx)))
	}
	c.Equal("the writer", stop(), nil)
	different, first := 0, []string{}
	for _, l := range lists {
		if differences := h.differences(l); len(differences) > 0 {
			different, first = different+1, append(first, differences[0])
		}
	}
	c.Equal(fmt.Sprintf("lists of 10 that differ from their revision %q", first), different, 0)
}

// The cache begins with a list and continues with a watch. It must not miss a write between the
// two.
func cacheStartsDuringWrites(ctx context.Context, s *setup, c *check.Counts) {
	h := writeLarge(ctx, s)
	for round := range 3 {
		s.cached.end(syscall.SIGKILL)
		stop := keepWriting(ctx, s, h)
		if err := s.cached.run(); err != nil {
			check.Stop(err)
		}
		check.Until(ctx, "the cache is filled", func() bool {
			_, err := s.cached.list(ctx, "resourceVersion", "0")
			return err == nil
		})
		c.Equal("the writer", stop(), nil)
		versions := func(l list) (all []string) {
			for _, o := range l.Items {
				all = append(all, o.Metadata.Name+" of "+o.Metadata.ResourceVersion)
			}
			return all
		}
		should := check.Must(s.uncached.list(ctx))
		same := func() bool {
			got := check.Must(s.cached.list(ctx, "resourceVersion", "0"))
			return slices.Equal(versions(got), versions(should))
		}
		for deadline := time.Now().Add(5 * time.Second); !same() && time.Now().Before(deadline); {
			time.Sleep(100 * time.Millisecond)
		}
		c.True(fmt.Sprintf("round %d: the cache equals the store", round), same())
	}
}
