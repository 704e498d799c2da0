package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"time"

	"libkv/tests/check"
)

// collect returns the next events as text. An error event ends the group.
func collect(ctx context.Context, events <-chan event, count int) (texts []string, last event) {
	for range count {
		last = check.Next(ctx, events)
		if last.Failure != nil {
			check.Stop(last.Failure)
		}
		texts = append(texts, last.text())
	}
	return texts, last
}

func watches(ctx context.Context, s *setup, c *check.Counts) {
	for _, server := range []*apiServer{s.cached, s.uncached} {
		inner, cancel := context.WithCancel(ctx)
		last := fill(ctx, s.cached, "watch", 3)
		from := check.Must(server.list(ctx)).Metadata.ResourceVersion
		events := check.Must(server.watch(inner, "resourceVersion", from))
		last.Spec.Number = 20
		check.Must(s.cached.update(ctx, last))
		check.Must(0, s.cached.delete(ctx, "watch-000"))
		made := check.Must(s.uncached.create(ctx, note("watch-new", "watch", 4)))
		seen, end := collect(ctx, events, 3)
		c.Equal(server.name+": from a resourceVersion", seen,
			[]string{"MODIFIED watch-002=20", "DELETED watch-000=0", "ADDED watch-new=4"})
		c.Equal(server.name+": the revision of an event", end.Object.revision(), made.revision())
		again := check.Must(server.watch(inner, "resourceVersion", from))
		repeated, _ := collect(ctx, again, 3)
		c.Equal(server.name+": a second watch from there", repeated, seen)
		selected := check.Must(server.watch(inner, "resourceVersion", from, "labelSelector", "group=selected"))
		check.Must(s.cached.create(ctx, note("selected", "selected", 5)))
		only, _ := collect(ctx, selected, 1)
		c.Equal(server.name+": with a selector", only, []string{"ADDED selected=5"})
		cancel()
		check.Must(0, s.cached.clear(ctx))
	}
}

// A bookmark has the revision up to which the watcher has received every event, so that it can
// resume there.
func bookmarks(ctx context.Context, s *setup, c *check.Counts) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	fill(ctx, s.cached, "mark", 5)
	before := check.Must(s.uncached.list(ctx)).Metadata.ResourceVersion
	initial := check.Must(s.cached.watch(inner, "sendInitialEvents", "true", "allowWatchBookmarks", "true",
		"resourceVersionMatch", "NotOlderThan"))
	seen, _ := collect(ctx, initial, 5)
	slices.Sort(seen)
	c.Equal("initial events", seen, []string{
		"ADDED mark-000=0", "ADDED mark-001=1", "ADDED mark-002=2", "ADDED mark-003=3", "ADDED mark-004=4"})
	_, end := collect(ctx, initial, 1)
	c.Equal("the bookmark after them", []string{end.Type, end.Object.Metadata.Annotations["k8s.io/initial-events-end"]},
		[]string{"BOOKMARK", "true"})
	c.True("the bookmark is not older than the list", end.Object.revision() >= revision(before))
	// the server sends a bookmark shortly before it ends a watch
	timed := check.Must(s.cached.watch(inner, "resourceVersion", before, "allowWatchBookmarks", "true", "timeoutSeconds", "5"))
	made := check.Must(s.cached.create(ctx, note("mark-new", "mark", 6)))
	types := []string{}
	for event := range timed {
		if types = append(types, event.Type); event.Failure != nil {
			check.Stop(event.Failure)
		}
		end = event
	}
	c.Equal("an event and a bookmark", slices.Compact(types), []string{"ADDED", "BOOKMARK"})
	c.True("the bookmark is not older than the event", end.Object.revision() >= made.revision())
	resumed := check.Must(s.cached.watch(inner, "resourceVersion", end.Object.Metadata.ResourceVersion))
	check.Must(0, s.cached.delete(ctx, "mark-new"))
	next, _ := collect(ctx, resumed, 1)
	c.Equal("a watch from the bookmark", next, []string{"DELETED mark-new=6"})
}

// Requests for compacted revisions fail with 410 Gone and the reason Expired. For a list the error
// has a token to continue it.
func compaction(ctx context.Context, s *setup, c *check.Counts) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	fill(ctx, s.cached, "compact", 25)
	old := check.Must(s.uncached.list(ctx, "limit", "10"))
	running := check.Must(s.cached.watch(inner, "resourceVersion", old.Metadata.ResourceVersion))
	check.Must(0, s.cached.delete(ctx, "compact-001"))
	last := check.Must(s.cached.create(ctx, note("compact-new", "compact", 0)))
	check.Must(0, s.store.compact(ctx, last.revision()))
	expired := func(name string, err error) *failure {
		refusal, _ := err.(*failure)
		if refusal == nil {
			refusal = &failure{Message: fmt.Sprint(err)}
		}
		c.Equal(name, []any{refusal.Code, refusal.Reason}, []any{http.StatusGone, "Expired"})
		return refusal
	}
	_, err := s.uncached.list(ctx, "limit", "10", "continue", old.Metadata.Continue)
	refusal := expired("the next page", err)
	_, err = s.uncached.list(ctx, "resourceVersion", old.Metadata.ResourceVersion, "resourceVersionMatch", "Exact")
	expired("a list of the compacted past", err)
	events := check.Must(s.uncached.watch(inner, "resourceVersion", old.Metadata.ResourceVersion))
	expired("a watch of the compacted past", failureOf(check.Next(ctx, events)))
	rest := check.Must(s.uncached.list(ctx, "continue", refusal.Metadata.Continue))
	c.Equal("the rest of the list, as of the current revision", []any{len(rest.Items), rest.Items[0].Metadata.Name, revision(rest.Metadata.ResourceVersion) >= last.revision()},
		[]any{16, "compact-010", true})
	from := check.Must(s.uncached.watch(inner, "resourceVersion", last.Metadata.ResourceVersion))
	check.Must(0, s.uncached.delete(ctx, "compact-002"))
	seen, _ := collect(ctx, from, 1)
	c.Equal("a watch from the compacted revision", seen, []string{"DELETED compact-002=2"})
	seen, _ = collect(ctx, running, 3)
	c.Equal("a watch that started before the compaction", seen,
		[]string{"DELETED compact-001=1", "ADDED compact-new=0", "DELETED compact-002=2"})
}

func failureOf(e event) error {
	if e.Failure == nil {
		return fmt.Errorf("the event %s", e.text())
	}
	return e.Failure
}

func apiServerRestarts(ctx context.Context, s *setup, c *check.Counts) {
	fill(ctx, s.cached, "restart", 12)
	before := check.Must(s.cached.list(ctx))
	s.cached.end(syscall.SIGTERM)
	made := check.Must(s.uncached.create(ctx, note("meanwhile", "restart", 1)))
	if err := s.cached.run(); err != nil {
		check.Stop(err)
	}
	check.Until(ctx, "notes are served", func() bool {
		_, err := s.cached.list(ctx)
		return err == nil
	})
	after := check.Must(s.cached.list(ctx))
	c.Equal("no object is lost", after.names(), append([]string{"meanwhile=1"}, before.names()...))
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	events := check.Must(s.cached.watch(inner, "resourceVersion", made.Metadata.ResourceVersion))
	check.Must(0, s.uncached.delete(ctx, "meanwhile"))
	seen, _ := collect(ctx, events, 1)
	c.Equal("a watch continues", seen, []string{"DELETED meanwhile=1"})
}

// The events of a watch. The fields are complete when done is closed.
type follower struct {
	added   []string
	wrong   []string
	expired int
	done    chan struct{}
}

// follow watches from a revision until the object "last" is created. If a watch ends, the next one
// resumes there.
func follow(ctx context.Context, server *apiServer, from string) *follower {
	f := &follower{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			events, err := server.watch(ctx, "resourceVersion", from)
			if code(err) == http.StatusGone {
				f.expired++
				return
			}
			if err != nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			for event := range events {
				if event.Failure != nil {
					if event.Failure.Code == http.StatusGone {
						f.expired++
						return
					}
					break
				}
				from = event.Object.Metadata.ResourceVersion
				if event.Type != "ADDED" || slices.Contains(f.added, event.Object.Metadata.Name) {
					f.wrong = append(f.wrong, event.text())
				}
				f.added = append(f.added, event.Object.Metadata.Name)
				if event.Object.Metadata.Name == "last" {
					return
				}
			}
		}
	}()
	return f
}
