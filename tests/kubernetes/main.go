// kubernetes STORE APISERVER DIR: tests an unmodified API server of Kubernetes on `kv serve`. STORE
// is the program kv, or etcd, which has to pass the same checks. APISERVER is the program of
// k8s.io/apiextensions-apiserver. DIR is for the files of the processes.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"libkv/tests/check"
)

// The time limits of a group and of a single wait.
const (
	groupLimit = 100 * time.Second
	waitLimit  = 30 * time.Second
)

// The setup of all groups: one store, and two API servers on it. One has a watch cache, as usual.
// The other reads every list from the store.
type setup struct {
	store    *store
	cached   *apiServer
	uncached *apiServer
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: kubernetes STORE APISERVER DIR")
		os.Exit(2)
	}
	counts := &check.Counts{}
	s, err := newSetup(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer s.stop()
	for i, group := range []struct {
		name string
		run  func(context.Context, *setup, *check.Counts)
	}{
		{"definition", definition},
		{"objects", objects},
		{"conflicts", conflicts},
		{"pages", pages},
		{"lists of a revision", listsOfARevision},
		{"lists from the cache", listsFromTheCache},
		{"lists during writes", listsDuringWrites},
		{"a cache that starts during writes", cacheStartsDuringWrites},
		{"watches", watches},
		{"bookmarks", bookmarks},
		{"compaction", compaction},
		{"restart of the API server", apiServerRestarts},
		{"kill -9 of the store", storeIsKilled},
	} {
		start := time.Now()
		counts.Group(group.name, groupLimit, func(ctx context.Context) {
			// also if the group before was stopped early
			if i > 0 {
				check.Must(0, s.uncached.clear(ctx))
			}
			group.run(ctx, s, counts)
		})
		fmt.Printf("%s: %.1f s\n", group.name, time.Since(start).Seconds())
	}
	s.stop()
	counts.Exit("kubernetes")
}
