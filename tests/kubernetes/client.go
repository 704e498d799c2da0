package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"libkv/tests/check"
)

// A plain HTTP client of the API server, so that the checks compare exactly what the server sends.
type client struct {
	base string
	http *http.Client
}

// An object of our resource.
type object struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       spec     `json:"spec"`
}

type metadata struct {
	Name            string            `json:"name,omitempty"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

type spec struct {
	Number int    `json:"number"`
	Text   string `json:"text,omitempty"`
}

type list struct {
	Metadata struct {
		ResourceVersion    string `json:"resourceVersion"`
		Continue           string `json:"continue"`
		RemainingItemCount int    `json:"remainingItemCount"`
	} `json:"metadata"`
	Items []object `json:"items"`
}

// The server's error. If a list is refused, Continue has the token to continue it.
type failure struct {
	Code     int    `json:"code"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
}

func (f *failure) Error() string {
	return fmt.Sprintf("%d %s: %s", f.Code, f.Reason, f.Message)
}

const (
	definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	notes       = "/apis/tests.libkv.example/v1/notes"
)

func (c *client) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if method == "PATCH" {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		failure := &failure{Code: response.StatusCode, Message: string(text)}
		json.Unmarshal(text, failure)
		return nil, failure
	}
	return response, nil
}

// raw returns the body of a response.
func (c *client) raw(ctx context.Context, method, path string, body any) ([]byte, error) {
	response, err := c.open(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

func call[T any](ctx context.Context, c *client, method, path string, body any) (response T, err error) {
	text, err := c.raw(ctx, method, path, body)
	if err == nil {
		err = json.Unmarshal(text, &response)
	}
	return response, err
}

// note is an object that is not stored yet. Its group is the value of a label.
func note(name, group string, number int) object {
	return object{
		APIVersion: "tests.libkv.example/v1", Kind: "Note",
		Metadata: metadata{Name: name, Labels: map[string]string{"group": group}}, Spec: spec{Number: number},
	}
}

func (c *client) create(ctx context.Context, o object) (object, error) {
	return call[object](ctx, c, "POST", notes, o)
}

func (c *client) get(ctx context.Context, name string) (object, error) {
	return call[object](ctx, c, "GET", notes+"/"+name, nil)
}

// update refuses an object whose resourceVersion is not the stored one.
func (c *client) update(ctx context.Context, o object) (object, error) {
	return call[object](ctx, c, "PUT", notes+"/"+o.Metadata.Name, o)
}

func (c *client) delete(ctx context.Context, name string) error {
	_, err := c.raw(ctx, "DELETE", notes+"/"+name, nil)
	return err
}

// clear deletes all objects.
func (c *client) clear(ctx context.Context) error {
	_, err := c.raw(ctx, "DELETE", notes, nil)
	return err
}

// query encodes alternating names and values, such as "limit", "10".
func query(words ...string) string {
	values := url.Values{}
	for i := 0; i < len(words); i += 2 {
		values.Set(words[i], words[i+1])
	}
	return "?" + values.Encode()
}

func (c *client) list(ctx context.Context, words ...string) (list, error) {
	return call[list](ctx, c, "GET", notes+query(words...), nil)
}

// revision is a resourceVersion as a number: with etcd's storage it is the revision.
func revision(text string) int64 {
	return check.Must(strconv.ParseInt(text, 10, 64))
}

func (o object) revision() int64 {
	return revision(o.Metadata.ResourceVersion)
}

// names returns "name=number" for each object, in the order of the list.
func (l list) names() []string {
	texts := []string{}
	for _, o := range l.Items {
		texts = append(texts, fmt.Sprintf("%s=%d", o.Metadata.Name, o.Spec.Number))
	}
	return texts
}

// An event of a watch. Failure is set if the watch failed.
type event struct {
	Type    string
	Object  object
	Failure *failure
}

func (e event) text() string {
	return fmt.Sprintf("%s %s=%d", e.Type, e.Object.Metadata.Name, e.Object.Spec.Number)
}

// watch sends events until the server ends the watch or ctx ends.
func (c *client) watch(ctx context.Context, words ...string) (<-chan event, error) {
	response, err := c.open(ctx, "GET", notes+query(append(words, "watch", "1")...), nil)
	if err != nil {
		return nil, err
	}
	events := make(chan event)
	go func() {
		defer close(events)
		defer response.Body.Close()
		decoder := json.NewDecoder(response.Body)
		for {
			var line struct {
				Type   string          `json:"type"`
				Object json.RawMessage `json:"object"`
			}
			if decoder.Decode(&line) != nil {
				return
			}
			event := event{Type: line.Type}
			var err error
			if line.Type == "ERROR" {
				event.Failure = &failure{}
				err = json.Unmarshal(line.Object, event.Failure)
			} else {
				err = json.Unmarshal(line.Object, &event.Object)
			}
			if err != nil {
				return
			}
			select {
			case events <- event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}

// code returns the HTTP status of a refusal, and 0 for other errors and for nil.
func code(err error) int {
	if failure, ok := err.(*failure); ok {
		return failure.Code
	}
	return 0
}
