package main

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"libkv/tests/check"
)

// events has one "TYPE key=value" per event.
func events(response clientv3.WatchResponse) []string {
	if err := response.Err(); err != nil {
		check.Stop(err)
	}
	texts := []string{}
	for _, event := range response.Events {
		texts = append(texts, event.Type.String()+" "+pairs([]*mvccpb.KeyValue{event.Kv})[0])
	}
	return texts
}

// collect reads events until there are this many.
func collect(ctx context.Context, watch clientv3.WatchChan, count int) []string {
	texts := []string{}
	for len(texts) < count {
		texts = append(texts, events(check.Next(ctx, watch))...)
	}
	return texts
}

func watches(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	before := check.Must(client.Put(ctx, "w/before", "0")).Header.Revision
	options := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(before), clientv3.WithCreatedNotify()}
	inner, cancel := context.WithCancel(ctx)
	watch := client.Watch(inner, "w/", options...)
	created := check.Next(ctx, watch)
	c.Equal("created", []any{created.Created, len(created.Events)}, []any{true, 0})
	check.Must(client.Put(ctx, "w/a", "1"))
	check.Must(client.Delete(ctx, "w/a"))
	c.Equal("events from a revision", collect(ctx, watch, 3), []string{"PUT w/before=0", "PUT w/a=1", "DELETE w/a="})
	progress(ctx, client, c, inner, watch)
	filters(ctx, client, c)
	cancel()
	closed := time.After(10 * time.Second)
	for open := true; open; {
		select {
		case _, open = <-watch:
		case <-closed:
			c.Equal("a cancelled watch is closed", "open after 10 s", "closed")
			return
		}
	}
	c.Equal("a cancelled watch is closed", true, true)
}

// A progress response has the revision up to which the watcher has received every event. etcd does
// not respond while a watcher of the stream is behind, so the request is repeated.
func progress(ctx context.Context, client *clientv3.Client, c *check.Counts, inner context.Context, watch clientv3.WatchChan) {
	now := check.Must(client.Put(ctx, "elsewhere", "")).Header.Revision
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	var response clientv3.WatchResponse
	for response.Header.GetRevision() < now {
		if err := client.RequestProgress(inner); err != nil {
			check.Stop(err)
		}
		select {
		case response = <-watch:
		case <-again.C:
		case <-ctx.Done():
			check.Stop(ctx.Err())
		}
	}
	c.Equal("progress", []any{response.IsProgressNotify(), response.Header.Revision}, []any{true, now})
	check.Must(client.Put(ctx, "w/after", "2"))
	c.Equal("an event after progress", collect(ctx, watch, 1), []string{"PUT w/after=2"})
}

func filters(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	from := check.Must(client.Put(ctx, "w/f", "1")).Header.Revision
	check.Must(client.Put(ctx, "w/f", "2"))
	check.Must(client.Delete(ctx, "w/f"))
	check.Must(client.Put(ctx, "w/f", "3"))
	puts := client.Watch(ctx, "w/f", clientv3.WithRev(from), clientv3.WithFilterDelete())
	c.Equal("no_delete", collect(ctx, puts, 3), []string{"PUT w/f=1", "PUT w/f=2", "PUT w/f=3"})
	deletes := client.Watch(ctx, "w/f", clientv3.WithRev(from), clientv3.WithFilterPut(), clientv3.WithPrevKV())
	response := check.Next(ctx, deletes)
	c.Equal("no_put", events(response), []string{"DELETE w/f="})
	c.Equal("prev_kv of a deletion", pairs([]*mvccpb.KeyValue{response.Events[0].PrevKv}), []string{"w/f=2"})
	now := check.Must(client.Get(ctx, "w/f")).Header.Revision
	future := client.Watch(ctx, "w/f", clientv3.WithRev(now+2))
	check.Must(client.Put(ctx, "w/f", "too early"))
	check.Must(client.Put(ctx, "w/f", "in time"))
	c.Equal("from a future revision", collect(ctx, future, 1), []string{"PUT w/f=in time"})
}

// 8 MB of events: more than one message of the server.
func fragments(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	from := check.Must(client.Get(ctx, "f")).Header.Revision + 1
	should := []string{}
	for i := range 10 {
		key := fmt.Sprintf("f/%d", i)
		check.Must(client.Txn(ctx).Then(clientv3.OpPut(key+"/a", large(400_000)), clientv3.OpPut(key+"/b", large(400_000))).Commit())
		should = append(should, "PUT "+key+"/a=400000 bytes", "PUT "+key+"/b=400000 bytes")
	}
	for _, row := range []struct {
		name    string
		options []clientv3.OpOption
	}{
		{"with fragments", []clientv3.OpOption{clientv3.WithFragment()}},
		{"without fragments", nil},
	} {
		inner, cancel := context.WithCancel(ctx)
		watch := client.Watch(inner, "f/", append(row.options, clientv3.WithPrefix(), clientv3.WithRev(from))...)
		seen, whole := []string{}, true
		for len(seen) < len(should) {
			response := check.Next(ctx, watch)
			seen = append(seen, events(response)...)
			whole = whole && len(seen)%2 == 0
		}
		c.Equal(row.name+": all events in order", seen, should)
		c.Equal(row.name+": a revision is never divided", whole, true)
		cancel()
	}
	check.Must(client.Delete(ctx, "f/", clientv3.WithPrefix()))
}

func compaction(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	first := check.Must(client.Put(ctx, "c/a", "1")).Header.Revision
	check.Must(client.Put(ctx, "c/a", "2"))
	last := check.Must(client.Put(ctx, "c/a", "3")).Header.Revision
	quiet := client.Watch(ctx, "c/quiet", clientv3.WithCreatedNotify())
	check.Next(ctx, quiet)
	check.Must(client.Compact(ctx, last, clientv3.WithCompactPhysical()))
	_, err := client.Get(ctx, "c/a", clientv3.WithRev(first))
	c.Equal("a get of the compacted past", err, rpctypes.ErrCompacted)
	stream := check.Must(client.GetStream(ctx, "c/a", clientv3.WithRev(first)))
	message := check.Next(ctx, stream)
	c.Equal("a stream of the compacted past", message.Err(), rpctypes.ErrCompacted)
	_, err = client.Compact(ctx, last)
	c.Equal("compacted twice", err, rpctypes.ErrCompacted)
	_, err = client.Compact(ctx, last+100)
	c.Equal("compacted in the future", err, rpctypes.ErrFutureRev)
	response := check.Next(ctx, client.Watch(ctx, "c/a", clientv3.WithRev(first)))
	c.Equal("a watch of the compacted past", []any{response.Canceled, response.CompactRevision, rejection(response.Err())},
		[]any{true, last, rpctypes.ErrCompacted.Error()})
	from := client.Watch(ctx, "c/a", clientv3.WithRev(last))
	c.Equal("a watch from the compacted revision", collect(ctx, from, 1), []string{"PUT c/a=3"})
	check.Must(client.Put(ctx, "c/quiet", "1"))
	c.Equal("a watch without matching events survives a compaction", collect(ctx, quiet, 1), []string{"PUT c/quiet=1"})
}
