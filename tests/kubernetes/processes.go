package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A process that this program can start and end repeatedly.
type process struct {
	name    string
	program string
	args    []string
	log     string
	command *exec.Cmd
	ended   chan error
}

// start starts the process and returns when ready returns nil.
func (p *process) start(ready func() error) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.command = exec.Command(p.program, p.args...)
	p.command.Stdout, p.command.Stderr = log, log
	// the kernel kills the process when this program ends
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return err
	}
	p.ended = make(chan error, 1)
	go func(command *exec.Cmd, ended chan error) { ended <- command.Wait() }(p.command, p.ended)
	deadline := time.After(2 * waitLimit)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case ended := <-p.ended:
			p.command = nil
			return fmt.Errorf("%s ended before it was ready (%v), see %s", p.name, ended, p.log)
		case <-deadline:
			return fmt.Errorf("%s is not ready: %w", p.name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// end sends a signal and waits for the end. It kills a process that does not end.
func (p *process) end(signal syscall.Signal) {
	if p.command == nil {
		return
	}
	p.command.Process.Signal(signal)
	select {
	case <-p.ended:
	case <-time.After(waitLimit):
		p.command.Process.Kill()
		<-p.ended
	}
	p.command = nil
}

// The server with etcd's interface.
type store struct {
	process
	url string
}

func newStore(program, dir string) (*store, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	data := filepath.Join(dir, "store")
	args := []string{"serve", data, "--listen-client-urls", url}
	if filepath.Base(program) == "etcd" {
		peer, err := freePort()
		if err != nil {
			return nil, err
		}
		peerURL := fmt.Sprintf("http://127.0.0.1:%d", peer)
		args = []string{"--data-dir", data, "--listen-client-urls", url, "--advertise-client-urls", url,
			"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "default=" + peerURL}
	}
	return &store{process{name: "the store", program: program, args: args, log: filepath.Join(dir, "store.log")}, url}, nil
}

func (s *store) run() error {
	return s.start(func() error {
		response, err := http.Get(s.url + "/health")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// compact discards revisions below this one. It uses the JSON gateway.
func (s *store) compact(ctx context.Context, revision int64) error {
	body := strings.NewReader(fmt.Sprintf(`{"revision": "%d", "physical": true}`, revision))
	request, err := http.NewRequestWithContext(ctx, "POST", s.url+"/v3/kv/compaction", body)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("compaction: %s", response.Status)
	}
	return nil
}

// An API server for custom resources.
type apiServer struct {
	process
	client
}

func newAPIServer(name, program, dir string, store *store, certificates *certificates, flags ...string) (*apiServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	// Users and namespaces belong to the main API server of Kubernetes. There is none here, and no
	// request needs it.
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(noCoreServer), 0o600); err != nil {
		return nil, err
	}
	args := append([]string{
		"--etcd-servers", store.url, "--etcd-compaction-interval", "0",
		"--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(port),
		"--tls-cert-file", certificates.path("server.crt"), "--tls-private-key-file", certificates.path("server.key"),
		"--client-ca-file", certificates.path("ca.crt"),
		"--authentication-skip-lookup", "--authentication-kubeconfig", kubeconfig,
		"--authorization-kubeconfig", kubeconfig, "--kubeconfig", kubeconfig,
		"--enable-priority-and-fairness=false", "--disable-admission-plugins",
		"NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ValidatingAdmissionPolicy,MutatingAdmissionPolicy",
	}, flags...)
	return &apiServer{
		process{name: name, program: program, args: args, log: filepath.Join(dir, name+".log")},
		client{fmt.Sprintf("https://127.0.0.1:%d", port), certificates.httpClient()},
	}, nil
}

const noCoreServer = `apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
users: [{name: none, user: {}}]
`

func (a *apiServer) run() error {
	a.client.http.CloseIdleConnections()
	return a.start(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		// the informers of objects of the main API server have no source here
		_, err := a.raw(ctx, "GET", "/readyz?exclude=informer-sync", nil)
		return err
	})
}

func newSetup(program, apiserver, dir string) (*setup, error) {
	certificates, err := newCertificates(dir)
	if err != nil {
		return nil, err
	}
	s := &setup{}
	if s.store, err = newStore(program, dir); err != nil {
		return nil, err
	}
	if s.cached, err = newAPIServer("cached", apiserver, dir, s.store, certificates); err != nil {
		return nil, err
	}
	if s.uncached, err = newAPIServer("uncached", apiserver, dir, s.store, certificates, "--watch-cache=false"); err != nil {
		return nil, err
	}
	for _, run := range []func() error{s.store.run, s.cached.run, s.uncached.run} {
		if err := run(); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

func (s *setup) stop() {
	s.cached.end(syscall.SIGKILL)
	s.uncached.end(syscall.SIGKILL)
	s.store.end(syscall.SIGTERM)
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// An authority, and certificates of the server and of a client. The group of the client makes it an
// administrator.
type certificates struct {
	dir    string
	client tls.Certificate
	roots  *x509.CertPool
}

func (c *certificates) path(name string) string {
	return filepath.Join(c.dir, name)
}

func (c *certificates) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: c.roots, Certificates: []tls.Certificate{c.client}},
		ForceAttemptHTTP2: true,
	}}
}

func newCertificates(dir string) (*certificates, error) {
	c := &certificates{dir: dir, roots: x509.NewCertPool()}
	template := func(serial int64, subject pkix.Name) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: subject,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
		}
	}
	authority := template(1, pkix.Name{CommonName: "authority"})
	authority.IsCA = true
	issuer, err := c.issue("ca", authority, authority, nil)
	if err != nil {
		return nil, err
	}
	c.roots.AddCert(issuer.Leaf)
	if _, err := c.issue("server", template(2, pkix.Name{CommonName: "server"}), issuer.Leaf, issuer.PrivateKey); err != nil {
		return nil, err
	}
	administrator := template(3, pkix.Name{CommonName: "administrator", Organization: []string{"system:masters"}})
	c.client, err = c.issue("client", administrator, issuer.Leaf, issuer.PrivateKey)
	return c, err
}

// issue writes NAME.crt and NAME.key. Without the key of a parent the certificate is self-signed.
func (c *certificates) issue(name string, template, parent *x509.Certificate, parentKey any) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if parentKey == nil {
		parentKey = key
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	certificatePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	if err := os.WriteFile(c.path(name+".crt"), certificatePEM, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	if err := os.WriteFile(c.path(name+".key"), keyPEM, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificatePEM, keyPEM)
}
