// go_client HOST PORT: tests etcd's own client for Go, unmodified.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"libkv/tests/check"
)

// Time for one group: the slowest waits for a lease of 2 s and moves 30 MB.
const limit = 40 * time.Second

func main() {
	endpoint := strings.Join(os.Args[1:], ":")
	counts := &check.Counts{}
	for _, group := range []struct {
		name string
		run  func(context.Context, *clientv3.Client, *check.Counts)
	}{
		{"keys", keys},
		{"transactions", transactions},
		{"streams", streams},
		{"a stream during writes", streamDuringWrites},
		{"watches", watches},
		{"fragments", fragments},
		{"compaction", compaction},
		{"leases", leases},
		{"locks", locks},
		{"elections", elections},
		{"elections of the server", serverElections},
		{"software transactional memory", stm},
		{"helpers", helpers},
		{"maintenance", maintenance},
		{"a password", password},
	} {
		counts.Group(group.name, limit, func(ctx context.Context) {
			client := check.Must(connect(ctx, endpoint, "", ""))
			defer client.Close()
			group.run(ctx, client, counts)
		})
	}
	counts.Exit("clientv3")
}

func connect(ctx context.Context, endpoint, user, password string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, Context: ctx,
		Username: user, Password: password, Logger: zap.NewNop(),
	})
}

// rejection is the text of an error, and "no error" for nil.
func rejection(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// pairs has one "key=value" per key, with long values as their size.
func pairs(kvs []*mvccpb.KeyValue) []string {
	texts := []string{}
	for _, kv := range kvs {
		value := fmt.Sprintf("%d bytes", len(kv.Value))
		if len(kv.Value) <= 64 {
			value = string(kv.Value)
		}
		texts = append(texts, string(kv.Key)+"="+value)
	}
	return texts
}

// large is a value of this many bytes.
func large(size int) string {
	return string(bytes.Repeat([]byte{'x'}, size))
}
