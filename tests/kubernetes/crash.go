package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"libkv/tests/check"
)

// The results of the writers: the acknowledged objects, and the names of objects without a
// response.
type written struct {
	mutex        sync.Mutex
	acknowledged []object
	unknown      map[string]bool
}

// writeUntil creates objects with four clients until stop is closed. A refused object is not tried
// again.
func writeUntil(ctx context.Context, s *setup, stop <-chan struct{}) (*written, *sync.WaitGroup) {
	w, group := &written{unknown: map[string]bool{}}, &sync.WaitGroup{}
	for writer := range 4 {
		server := []*apiServer{s.cached, s.uncached}[writer%2]
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				default:
				}
				name := fmt.Sprintf("kill-%d-%05d", writer, i)
				o, err := server.create(ctx, note(name, "kill", i))
				w.mutex.Lock()
				if err == nil {
					w.acknowledged = append(w.acknowledged, o)
				} else {
					w.unknown[name] = true
				}
				w.mutex.Unlock()
				if err != nil {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	return w, group
}

func (w *written) count() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.acknowledged)
}

// The store is killed three times while four clients write and two watch. Acknowledged objects must
// exist, no revision may be assigned twice, and the watches must continue.
func storeIsKilled(ctx context.Context, s *setup, c *check.Counts) {
	from := check.Must(s.uncached.list(ctx)).Metadata.ResourceVersion
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	followers := []*follower{follow(inner, s.cached, from), follow(inner, s.uncached, from)}
	stop := make(chan struct{})
	w, group := writeUntil(ctx, s, stop)
	for range 3 {
		enough := w.count() + 40
		check.Until(ctx, "writes continue", func() bool { return w.count() >= enough })
		s.store.end(syscall.SIGKILL)
		if err := s.store.run(); err != nil {
			check.Stop(err)
		}
	}
	enough := w.count() + 40
	check.Until(ctx, "writes continue after the last restart", func() bool { return w.count() >= enough })
	close(stop)
	group.Wait()
	check.Until(ctx, "a last object", func() bool {
		_, err := s.uncached.create(ctx, note("last", "kill", 0))
		return err == nil || code(err) == 409
	})
	stored := check.Must(s.uncached.list(ctx))
	survivors(c, w, stored)
	cached := check.Must(s.cached.list(ctx))
	c.Equal("the cache equals the store", cached.names(), stored.names())
	for i, f := range followers {
		select {
		case <-f.done:
		case <-time.After(waitLimit):
			cancel()
			<-f.done
		}
		f.compare(c, []string{"cached", "uncached"}[i], stored)
	}
}

// compare checks the events of a watch that started before the first of these objects.
func (f *follower) compare(c *check.Counts, name string, stored list) {
	c.Equal(name+": watches that expired", f.expired, 0)
	c.Equal(name+": wrong events", f.wrong, []string(nil))
	all := []string{}
	for _, o := range stored.Items {
		all = append(all, o.Metadata.Name)
	}
	slices.Sort(f.added)
	c.Equal(name+": each object is one event", f.added, all)
}

// survivors compares the results of the writers with the stored objects.
func survivors(c *check.Counts, w *written, stored list) {
	found, revisions := map[string]int64{}, map[int64]string{}
	for _, o := range stored.Items {
		found[o.Metadata.Name] = o.revision()
		if other := revisions[o.revision()]; other != "" {
			c.Equal("each object has its own revision", o.Metadata.Name, other)
		}
		revisions[o.revision()] = o.Metadata.Name
	}
	lost := []string{}
	for _, o := range w.acknowledged {
		if found[o.Metadata.Name] != o.revision() {
			lost = append(lost, o.Metadata.Name)
		}
		delete(found, o.Metadata.Name)
	}
	c.Equal("acknowledged and lost", lost, []string{})
	for name := range found {
		if !w.unknown[name] && name != "last" {
			c.Equal("an object that was not written", name, "")
		}
	}
	fmt.Printf("%d objects acknowledged, %d without a response, %d of them stored\n",
		len(w.acknowledged), len(w.unknown), len(found)-1)
}
