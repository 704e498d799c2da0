package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"libkv/tests/check"
)

var noteDefinition = map[string]any{
	"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
	"metadata": map[string]any{"name": "notes.tests.libkv.example", "annotations": map[string]any{
		"api-approved.kubernetes.io": "unapproved, a test"}},
	"spec": map[string]any{
		"group": "tests.libkv.example", "scope": "Cluster",
		"names": map[string]any{"plural": "notes", "singular": "note", "kind": "Note", "listKind": "NoteList"},
		"versions": []any{map[string]any{
			"name": "v1", "served": true, "storage": true,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "properties": map[string]any{"spec": map[string]any{
					"type": "object", "properties": map[string]any{
						"number": map[string]any{"type": "integer"}, "text": map[string]any{"type": "string"},
					},
				}},
			}},
		}},
	},
}

// definition creates our resource. Each server serves it once its watch has delivered the
// definition.
func definition(ctx context.Context, s *setup, c *check.Counts) {
	_, err := s.cached.raw(ctx, "POST", definitions, noteDefinition)
	c.Equal("create", err, nil)
	for _, server := range []*apiServer{s.cached, s.uncached} {
		check.Until(ctx, "served by "+server.name, func() bool {
			_, err := server.list(ctx)
			return err == nil
		})
		c.Equal("an empty list from "+server.name, check.Must(server.list(ctx)).names(), []string{})
	}
}

func objects(ctx context.Context, s *setup, c *check.Counts) {
	made := check.Must(s.cached.create(ctx, note("a", "objects", 1)))
	c.True("create has a resourceVersion", made.revision() > 0)
	c.Equal("get", check.Must(s.cached.get(ctx, "a")), made)
	c.Equal("get without a cache", check.Must(s.uncached.get(ctx, "a")), made)
	_, err := s.cached.create(ctx, note("a", "objects", 2))
	c.Equal("create again", code(err), http.StatusConflict)
	same := check.Must(s.cached.update(ctx, made))
	c.Equal("an update that changes nothing keeps the resourceVersion", same.revision(), made.revision())
	made.Spec.Number = 2
	updated := check.Must(s.cached.update(ctx, made))
	c.True("an update raises the resourceVersion", updated.revision() > made.revision())
	c.Equal("get after an update", check.Must(s.cached.get(ctx, "a")).Spec.Number, 2)
	c.Equal("delete", s.cached.delete(ctx, "a"), nil)
	_, err = s.cached.get(ctx, "a")
	c.Equal("get after a delete", code(err), http.StatusNotFound)
	c.Equal("delete again", code(s.cached.delete(ctx, "a")), http.StatusNotFound)
	again := check.Must(s.cached.create(ctx, note("a", "objects", 3)))
	c.True("a new object of the same name has another uid", again.Metadata.UID != made.Metadata.UID)
	c.Equal("delete of a collection", s.cached.clear(ctx), nil)
	c.Equal("no object remains", check.Must(s.uncached.list(ctx)).names(), []string{})
}

func conflicts(ctx context.Context, s *setup, c *check.Counts) {
	first := check.Must(s.cached.create(ctx, note("a", "conflicts", 0)))
	changed := first
	changed.Spec.Number = 1
	second := check.Must(s.cached.update(ctx, changed))
	changed.Spec.Number = 2
	_, err := s.cached.update(ctx, changed)
	c.Equal("update with an old resourceVersion", code(err), http.StatusConflict)
	c.Equal("the object is unchanged", check.Must(s.uncached.get(ctx, "a")), second)
	preconditions := map[string]any{"preconditions": map[string]string{"resourceVersion": first.Metadata.ResourceVersion}}
	_, err = s.cached.raw(ctx, "DELETE", notes+"/a", preconditions)
	c.Equal("delete with an old resourceVersion", code(err), http.StatusConflict)
	counter(ctx, s, c)
}

// Four clients of two servers add one, ten times each. A conflict causes another attempt.
func counter(ctx context.Context, s *setup, c *check.Counts) {
	check.Must(s.cached.create(ctx, note("counter", "conflicts", 0)))
	var group sync.WaitGroup
	errors := make(chan error, 4)
	for i := range 4 {
		server := []*apiServer{s.cached, s.uncached}[i%2]
		group.Go(func() {
			for added := 0; added < 10; {
				o, err := server.get(ctx, "counter")
				if err == nil {
					o.Spec.Number++
					_, err = server.update(ctx, o)
				}
				if err == nil {
					added++
				} else if code(err) != http.StatusConflict {
					errors <- err
					return
				}
			}
			errors <- nil
		})
	}
	group.Wait()
	for range 4 {
		c.Equal("additions", <-errors, nil)
	}
	c.Equal("no addition is lost", check.Must(s.cached.get(ctx, "counter")).Spec.Number, 40)
}

// fill creates objects NAME-000 and so on, and returns the last one.
func fill(ctx context.Context, server *apiServer, name string, count int) (last object) {
	for i := range count {
		last = check.Must(server.create(ctx, note(fmt.Sprintf("%s-%03d", name, i), name, i)))
	}
	return last
}
