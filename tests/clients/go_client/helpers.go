package main

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"

	"libkv/tests/check"
)

// The helpers of the client's module: a prefix for all keys, a mirror, and a cache with leases on
// keys.
func helpers(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	within := namespace.NewKV(client, "ns/")
	check.Must(within.Put(ctx, "a", "1"))
	c.Equal("a key within a namespace", pairs(check.Must(within.Get(ctx, "", clientv3.WithPrefix())).Kvs), []string{"a=1"})
	c.Equal("the same key without it", pairs(check.Must(client.Get(ctx, "ns/a")).Kvs), []string{"ns/a=1"})

	base := check.Must(client.Put(ctx, "mirror/a", "1")).Header.Revision
	syncer := mirror.NewSyncer(client, "mirror/", base)
	responses, errors := syncer.SyncBase(ctx)
	kvs := []*mvccpb.KeyValue{}
	for response := range responses {
		kvs = append(kvs, response.Kvs...)
	}
	c.Equal("the first copy of a mirror", []any{pairs(kvs), <-errors}, []any{[]string{"mirror/a=1"}, error(nil)})
	check.Must(client.Put(ctx, "mirror/b", "2"))
	check.Must(client.Delete(ctx, "mirror/a"))
	c.Equal("the updates of a mirror", collect(ctx, syncer.SyncUpdates(ctx), 2), []string{"PUT mirror/b=2", "DELETE mirror/a="})

	one, closeOne, err := leasing.NewKV(client, "leases/")
	check.Must(0, err)
	defer closeOne()
	two, closeTwo, err := leasing.NewKV(client, "leases/")
	check.Must(0, err)
	defer closeTwo()
	check.Must(client.Put(ctx, "leased", "1"))
	c.Equal("a get that caches the key", pairs(check.Must(one.Get(ctx, "leased")).Kvs), []string{"leased=1"})
	check.Must(two.Put(ctx, "leased", "2"))
	c.Equal("a write of the other client ends the caching", pairs(check.Must(one.Get(ctx, "leased")).Kvs), []string{"leased=2"})
}
