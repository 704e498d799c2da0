package main

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"libkv/tests/check"
)

func keys(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	c.Equal("get of a missing key", len(check.Must(client.Get(ctx, "never")).Kvs), 0)
	first := check.Must(client.Put(ctx, "k/a", "1")).Header.Revision
	c.Equal("put on an empty store", first, int64(2))
	again := check.Must(client.Put(ctx, "k/a", "2", clientv3.WithPrevKV()))
	c.Equal("put with prev_kv", pairs([]*mvccpb.KeyValue{again.PrevKv}), []string{"k/a=1"})
	check.Must(client.Put(ctx, "k/b", "\x00\xff\n"))
	check.Must(client.Put(ctx, "k/c", ""))
	kv := check.Must(client.Get(ctx, "k/a")).Kvs[0]
	c.Equal("get", []any{string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease},
		[]any{"2", first, first + 1, int64(2), int64(0)})
	past := check.Must(client.Get(ctx, "k/a", clientv3.WithRev(first)))
	c.Equal("get at a revision", pairs(past.Kvs), []string{"k/a=1"})
	c.Equal("header of a get at a revision", past.Header.Revision, first+3)
	sorted := check.Must(client.Get(ctx, "k/", clientv3.WithPrefix(), clientv3.WithLimit(2),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend)))
	c.Equal("prefix, sorted and limited", pairs(sorted.Kvs), []string{"k/c=", "k/b=\x00\xff\n"})
	c.Equal("more and count", []any{sorted.More, sorted.Count}, []any{true, int64(3)})
	c.Equal("keys_only", pairs(check.Must(client.Get(ctx, "k/", clientv3.WithPrefix(), clientv3.WithKeysOnly())).Kvs),
		[]string{"k/a=", "k/b=", "k/c="})
	counted := check.Must(client.Get(ctx, "k/b", clientv3.WithFromKey(), clientv3.WithCountOnly()))
	c.Equal("count_only from a key", []any{counted.Count, len(counted.Kvs)}, []any{int64(2), 0})
	newer := check.Must(client.Get(ctx, "k/", clientv3.WithPrefix(), clientv3.WithMinModRev(first+2)))
	c.Equal("min_mod_revision", pairs(newer.Kvs), []string{"k/b=\x00\xff\n", "k/c="})
	gone := check.Must(client.Delete(ctx, "k/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	c.Equal("delete with prev_kv", []any{gone.Deleted, len(gone.PrevKvs)}, []any{int64(3), 3})
	_, err := client.Get(ctx, "k/a", clientv3.WithRev(1_000_000))
	c.Equal("a future revision", err, rpctypes.ErrFutureRev)
	_, err = client.Put(ctx, "", "")
	c.Equal("an empty key", err, rpctypes.ErrEmptyKey)
	_, err = client.Put(ctx, "k/large", large(1_600_000))
	c.Equal("a request over the limit", err, rpctypes.ErrRequestTooLarge)
}

func transactions(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	check.Must(client.Put(ctx, "t/a", "1"))
	compares := []clientv3.Cmp{
		clientv3.Compare(clientv3.Value("t/a"), "=", "1"),
		clientv3.Compare(clientv3.CreateRevision("t/b"), "=", 0),
	}
	nested := clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Version("t/b"), ">", 0)},
		[]clientv3.Op{clientv3.OpDelete("t/a")}, nil)
	commit := func() *clientv3.TxnResponse {
		return check.Must(client.Txn(ctx).If(compares...).
			Then(clientv3.OpPut("t/b", "then"), clientv3.OpGet("t/b"), nested).
			Else(clientv3.OpGet("t/a")).Commit())
	}
	done := commit()
	c.Equal("then", []any{done.Succeeded, len(done.Responses)}, []any{true, 3})
	c.Equal("a get after a put of the same key", pairs(done.Responses[1].GetResponseRange().Kvs), []string{"t/b=then"})
	c.Equal("compares of a nested txn use the state before the txn", done.Responses[2].GetResponseTxn().Succeeded, false)
	done = commit()
	c.Equal("else", []any{done.Succeeded, pairs(done.Responses[0].GetResponseRange().Kvs)},
		[]any{false, []string{"t/a=1"}})
	_, err := client.Txn(ctx).Then(clientv3.OpPut("x", "1"), clientv3.OpPut("x", "2")).Commit()
	c.Equal("the same key twice", err, rpctypes.ErrDuplicateKey)
	many := make([]clientv3.Op, 129)
	for i := range many {
		many[i] = clientv3.OpPut(fmt.Sprintf("t/many/%d", i), "")
	}
	_, err = client.Txn(ctx).Then(many...).Commit()
	c.Equal("over 128 operations", err, rpctypes.ErrTooManyOps)
	one := check.Must(client.Txn(ctx).Then(many[:128]...).Commit())
	all := check.Must(client.Get(ctx, "t/many/", clientv3.WithPrefix(), clientv3.WithMinModRev(one.Header.Revision)))
	c.Equal("128 operations are one revision", []any{len(all.Kvs), all.Kvs[0].ModRevision, all.Kvs[127].ModRevision},
		[]any{128, one.Header.Revision, one.Header.Revision})
}

// chunks returns the sizes of a stream's messages, all their pairs, and the last message.
func chunks(ctx context.Context, stream clientv3.GetStreamChan) (sizes []int, kvs []string, last clientv3.RangeStreamResponse) {
	for {
		select {
		case message, open := <-stream:
			if !open {
				return sizes, kvs, last
			}
			if message.Err() != nil {
				check.Stop(message.Err())
			}
			sizes, kvs, last = append(sizes, len(message.Kvs)), append(kvs, pairs(message.Kvs)...), message
		case <-ctx.Done():
			check.Stop(ctx.Err())
		}
	}
}

func streams(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	puts := make([]clientv3.Op, 60)
	for i := range puts {
		puts[i] = clientv3.OpPut(fmt.Sprintf("s/%02d", i), fmt.Sprint(i))
	}
	before := check.Must(client.Put(ctx, "s/00", "old")).Header.Revision
	check.Must(client.Txn(ctx).Then(puts...).Commit())
	for _, row := range []struct {
		name    string
		options []clientv3.OpOption
	}{
		{"all", nil},
		{"limited to 11", []clientv3.OpOption{clientv3.WithLimit(11)}},
		{"limited to all", []clientv3.OpOption{clientv3.WithLimit(60)}},
		{"keys_only", []clientv3.OpOption{clientv3.WithKeysOnly()}},
		{"count_only", []clientv3.OpOption{clientv3.WithCountOnly()}},
		{"serializable", []clientv3.OpOption{clientv3.WithSerializable()}},
		{"at a revision", []clientv3.OpOption{clientv3.WithRev(before)}},
		{"sorted by key, ascending", []clientv3.OpOption{clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend)}},
	} {
		options := append([]clientv3.OpOption{clientv3.WithPrefix()}, row.options...)
		get := check.Must(client.Get(ctx, "s/", options...))
		sizes, kvs, last := chunks(ctx, check.Must(client.GetStream(ctx, "s/", options...)))
		c.Equal(row.name+": the pairs of a get", append([]string{}, kvs...), pairs(get.Kvs))
		c.Equal(row.name+": count, more and revision of a get",
			[]any{last.Count, last.More, last.Header.GetRevision()}, []any{get.Count, get.More, get.Header.Revision})
		c.Equal(row.name+": at most 10 in the first message", sizes[0] <= 10, true)
		merged := check.Must(clientv3.GetStreamToGetResponse(check.Must(client.GetStream(ctx, "s/", options...))))
		c.Equal(row.name+": put together", []any{pairs(merged.Kvs), merged.Count, merged.More},
			[]any{pairs(get.Kvs), get.Count, get.More})
	}
	for message := range check.Must(client.GetStream(ctx, "s/", clientv3.WithPrefix())) {
		if len(message.Kvs) == 0 || string(message.Kvs[len(message.Kvs)-1].Key) != "s/59" {
			c.Equal("a message before the last has only pairs", []any{message.Header == nil, message.Count, message.More},
				[]any{true, int64(0), false})
		}
	}
	sizes, _, last := chunks(ctx, check.Must(client.GetStream(ctx, "never")))
	c.Equal("no key: one message with a header", []any{sizes, last.Header != nil}, []any{[]int{0}, true})
	unordered, err := clientv3.GetStreamToGetResponse(check.Must(client.GetStream(ctx, "s/0", clientv3.WithRange("s/03"),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortNone))))
	c.Equal("a target without an order", err, nil)
	if err == nil {
		c.Equal("the pairs without an order", pairs(unordered.Kvs), []string{"s/00=0", "s/01=1", "s/02=2"})
	}
	streamRefusals(ctx, client, c)
}

func streamRefusals(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	refused := func(options ...clientv3.OpOption) error {
		stream, err := client.GetStream(ctx, "s/", append(options, clientv3.WithPrefix())...)
		if err != nil {
			return err
		}
		message := check.Next(ctx, stream)
		return message.Err()
	}
	c.Equal("a custom order", status.Code(refused(clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))),
		codes.Unimplemented)
	c.Equal("an order by another target", status.Code(refused(clientv3.WithSort(clientv3.SortByVersion, clientv3.SortAscend))),
		codes.Unimplemented)
	c.Equal("a filter by revision", status.Code(refused(clientv3.WithMinModRev(1))), codes.Unimplemented)
	c.Equal("a future revision", refused(clientv3.WithRev(1_000_000)), rpctypes.ErrFutureRev)
}

// A list that a watch continues. It has 30 MB, so that the stream cannot end before its client
// reads on.
func streamDuringWrites(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	var opened int64
	for i := range 150 {
		opened = check.Must(client.Put(ctx, fmt.Sprintf("large/%03d", i), large(200_000))).Header.Revision
	}
	stream := check.Must(client.GetStream(ctx, "large/", clientv3.WithPrefix()))
	first := check.Next(ctx, stream)
	for _, key := range []string{"large/000", "large/140", "large/999"} {
		check.Must(client.Put(ctx, key, "written during the stream"))
	}
	check.Must(client.Delete(ctx, "large/149"))
	_, kvs, last := chunks(ctx, stream)
	c.Equal("pairs", len(first.Kvs)+len(kvs), 150)
	c.Equal("the last pair", kvs[len(kvs)-1], "large/149=200000 bytes")
	c.Equal("count", last.Count, int64(150))
	c.Equal("the header is the revision at the opening", last.Header.Revision, opened)
	watch := client.Watch(ctx, "large/", clientv3.WithPrefix(), clientv3.WithRev(last.Header.Revision+1))
	missed := []string{}
	for len(missed) < 4 {
		missed = append(missed, events(check.Next(ctx, watch))...)
	}
	c.Equal("a watch from there has all writes", missed, []string{
		"PUT large/000=written during the stream", "PUT large/140=written during the stream",
		"PUT large/999=written during the stream", "DELETE large/149=",
	})
	check.Must(client.Delete(ctx, "large/", clientv3.WithPrefix()))
}
