package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"

	"libkv/tests/check"
)

func leases(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	const id = 0x1234
	granted := check.Must(clientv3.RetryLeaseClient(client).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 60}))
	c.Equal("grant of a chosen id", []any{granted.ID, granted.TTL}, []any{int64(id), int64(60)})
	check.Must(client.Put(ctx, "l/a", "1", clientv3.WithLease(id)))
	check.Must(client.Put(ctx, "l/a", "2", clientv3.WithIgnoreLease()))
	c.Equal("ignore_lease", check.Must(client.Get(ctx, "l/a")).Kvs[0].Lease, int64(id))
	left := check.Must(client.TimeToLive(ctx, id, clientv3.WithAttachedKeys()))
	c.Equal("its keys", []any{left.GrantedTTL, left.Keys}, []any{int64(60), [][]byte{[]byte("l/a")}})
	kept := check.Next(ctx, check.Must(client.KeepAlive(ctx, id)))
	c.Equal("keep alive", []any{kept.ID, kept.TTL}, []any{clientv3.LeaseID(id), int64(60)})
	once := check.Must(client.KeepAliveOnce(ctx, id))
	c.Equal("keep alive once", []any{once.ID, once.TTL}, []any{clientv3.LeaseID(id), int64(60)})
	c.Equal("all leases", check.Must(client.Leases(ctx)).Leases, []clientv3.LeaseStatus{{ID: id}})
	check.Must(client.Revoke(ctx, id))
	c.Equal("revoke deletes the keys of the lease", check.Must(client.Get(ctx, "l/a")).Count, int64(0))
	_, err := client.Revoke(ctx, id)
	c.Equal("revoked twice", err, rpctypes.ErrLeaseNotFound)
	_, err = client.KeepAliveOnce(ctx, id)
	c.Equal("keep alive of a missing lease", err, rpctypes.ErrLeaseNotFound)
	_, err = client.Put(ctx, "l/b", "", clientv3.WithLease(id))
	c.Equal("put with a missing lease", err, rpctypes.ErrLeaseNotFound)
	c.Equal("time to live of a missing lease", check.Must(client.TimeToLive(ctx, id)).TTL, int64(-1))
	watch := client.Watch(ctx, "l/short", clientv3.WithCreatedNotify())
	check.Next(ctx, watch)
	short := check.Must(client.Grant(ctx, 1))
	check.Must(client.Put(ctx, "l/short", "1", clientv3.WithLease(short.ID)))
	c.Equal("expiry is an event", collect(ctx, watch, 2), []string{"PUT l/short=1", "DELETE l/short="})
}

func session(ctx context.Context, client *clientv3.Client) *concurrency.Session {
	return check.Must(concurrency.NewSession(client, concurrency.WithTTL(30), concurrency.WithContext(ctx)))
}

func locks(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	one, two := session(ctx, client), session(ctx, client)
	first, second := concurrency.NewMutex(one, "lock"), concurrency.NewMutex(two, "lock")
	c.Equal("lock", first.Lock(ctx), nil)
	c.Equal("the owner's key", first.Key(), fmt.Sprintf("lock/%x", one.Lease()))
	c.Equal("try of a held lock", second.TryLock(ctx), concurrency.ErrLocked)
	owner := check.Must(client.Txn(ctx).If(first.IsOwner()).Then(clientv3.OpPut("guarded", "1")).Commit())
	c.Equal("a txn of the owner", owner.Succeeded, true)
	waiting := make(chan error, 1)
	go func() { waiting <- second.Lock(ctx) }()
	check.Until(ctx, "a second key in the queue", func() bool {
		return check.Must(client.Get(ctx, "lock/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count == 2
	})
	c.Equal("unlock", first.Unlock(ctx), nil)
	c.Equal("the next in the queue acquires it", check.Next(ctx, waiting), nil)
	c.Equal("unlocked twice", first.Unlock(ctx), concurrency.ErrLockReleased)
	go func() { waiting <- first.Lock(ctx) }()
	check.Until(ctx, "a second key in the queue", func() bool {
		return check.Must(client.Get(ctx, "lock/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count == 2
	})
	c.Equal("a session ends", two.Close(), nil)
	c.Equal("its lock is passed on", check.Next(ctx, waiting), nil)
	exclusion(ctx, client, c)
	serverLock(ctx, client, c)
}

// Four sessions read, add one and write, five times each. Without the lock some additions would be
// lost.
func exclusion(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	check.Must(client.Put(ctx, "counter", "0"))
	var group sync.WaitGroup
	errors := make(chan error, 4)
	for range 4 {
		group.Go(func() {
			errors <- func() error {
				session, err := concurrency.NewSession(client, concurrency.WithContext(ctx))
				if err != nil {
					return err
				}
				defer session.Close()
				mutex := concurrency.NewMutex(session, "exclusive")
				for range 5 {
					if err := mutex.Lock(ctx); err != nil {
						return err
					}
					got, err := client.Get(ctx, "counter")
					if err != nil {
						return err
					}
					value, _ := strconv.Atoi(string(got.Kvs[0].Value))
					if _, err := client.Put(ctx, "counter", strconv.Itoa(value+1)); err != nil {
						return err
					}
					if err := mutex.Unlock(ctx); err != nil {
						return err
					}
				}
				return nil
			}()
		})
	}
	group.Wait()
	for range 4 {
		c.Equal("four sessions take turns", <-errors, nil)
	}
	c.Equal("no addition is lost", pairs(check.Must(client.Get(ctx, "counter")).Kvs), []string{"counter=20"})
}

func serverLock(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	remote := v3lockpb.NewLockClient(client.ActiveConnection())
	lease := int64(check.Must(client.Grant(ctx, 30)).ID)
	held := check.Must(remote.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("server"), Lease: lease}))
	c.Equal("the server's lock", string(held.Key), fmt.Sprintf("server/%x", lease))
	check.Must(remote.Unlock(ctx, &v3lockpb.UnlockRequest{Key: held.Key}))
	c.Equal("the server's unlock", check.Must(client.Get(ctx, "server/", clientv3.WithPrefix())).Count, int64(0))
}

func value(response *clientv3.GetResponse) string {
	return string(response.Kvs[0].Value)
}

func elections(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	one, two := session(ctx, client), session(ctx, client)
	first, second := concurrency.NewElection(one, "election"), concurrency.NewElection(two, "election")
	_, err := second.Leader(ctx)
	c.Equal("no leader", err, concurrency.ErrElectionNoLeader)
	c.Equal("campaign", first.Campaign(ctx, "first"), nil)
	c.Equal("the leader", value(check.Must(second.Leader(ctx))), "first")
	observed := second.Observe(ctx)
	c.Equal("observe begins with the leader", value(check.Next(ctx, observed)), "first")
	c.Equal("proclaim", first.Proclaim(ctx, "still first"), nil)
	c.Equal("observe has the new value", value(check.Next(ctx, observed)), "still first")
	waiting := make(chan error, 1)
	go func() { waiting <- second.Campaign(ctx, "second") }()
	check.Until(ctx, "a second key in the queue", func() bool {
		return check.Must(client.Get(ctx, "election/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count == 2
	})
	c.Equal("resign", first.Resign(ctx), nil)
	c.Equal("the next candidate leads", check.Next(ctx, waiting), nil)
	c.Equal("observe has the new leader", value(check.Next(ctx, observed)), "second")
	c.Equal("proclaim without leading", first.Proclaim(ctx, "no"), concurrency.ErrElectionNotLeader)
	go func() { waiting <- first.Campaign(ctx, "first again") }()
	check.Until(ctx, "a second key in the queue", func() bool {
		return check.Must(client.Get(ctx, "election/", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count == 2
	})
	c.Equal("the leader's session ends", two.Close(), nil)
	c.Equal("the candidate leads", check.Next(ctx, waiting), nil)
	resumed := concurrency.ResumeElection(one, "election", first.Key(), first.Rev())
	c.Equal("a resumed election proclaims", resumed.Proclaim(ctx, "resumed"), nil)
}

// The election service of the server, over gRPC. The leases outlive the test, so that an expiry
// cannot wake a stream.
func serverElections(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	remote := v3electionpb.NewElectionClient(client.ActiveConnection())
	lease := int64(check.Must(client.Grant(ctx, 600)).ID)
	_, err := remote.Leader(ctx, &v3electionpb.LeaderRequest{Name: []byte("se")})
	c.Equal("no leader", rejection(rpctypes.Error(err)), "rpc error: code = Unknown desc = election: no leader")
	campaign := check.Must(remote.Campaign(ctx, &v3electionpb.CampaignRequest{Name: []byte("se"), Lease: lease, Value: []byte("1")}))
	c.Equal("campaign", string(campaign.Leader.Key), fmt.Sprintf("se/%x", lease))
	stream := check.Must(remote.Observe(ctx, &v3electionpb.LeaderRequest{Name: []byte("se")}))
	observed := make(chan string)
	go func() {
		defer close(observed)
		for {
			response, err := stream.Recv()
			if err != nil {
				return
			}
			observed <- string(response.Kv.Value)
		}
	}()
	c.Equal("observe begins with the leader", check.Next(ctx, observed), "1")
	check.Must(remote.Proclaim(ctx, &v3electionpb.ProclaimRequest{Leader: campaign.Leader, Value: []byte("2")}))
	c.Equal("observe has the new value", check.Next(ctx, observed), "2")
	check.Must(remote.Resign(ctx, &v3electionpb.ResignRequest{Leader: campaign.Leader}))
	other := int64(check.Must(client.Grant(ctx, 600)).ID)
	check.Must(remote.Campaign(ctx, &v3electionpb.CampaignRequest{Name: []byte("se"), Lease: other, Value: []byte("3")}))
	c.Equal("observe has the new leader", check.Next(ctx, observed), "3")
}

// Four clients transfer amounts between accounts. The sum must not change.
func stm(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	for account := range 5 {
		check.Must(client.Put(ctx, fmt.Sprintf("stm/%d", account), "100"))
	}
	for _, level := range []concurrency.Isolation{
		concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads,
	} {
		var group sync.WaitGroup
		errors := make(chan error, 4)
		for side := range 4 {
			group.Go(func() {
				var err error
				for round := range 10 {
					from, to := fmt.Sprintf("stm/%d", (side+round)%5), fmt.Sprintf("stm/%d", (side+2*round+1)%5)
					if from != to && err == nil {
						err = transfer(ctx, client, level, from, to)
					}
				}
				errors <- err
			})
		}
		group.Wait()
		for range 4 {
			c.Equal(fmt.Sprintf("transfers at level %d", level), <-errors, nil)
		}
		sum := 0
		for _, kv := range check.Must(client.Get(ctx, "stm/", clientv3.WithPrefix())).Kvs {
			amount, _ := strconv.Atoi(string(kv.Value))
			sum += amount
		}
		c.Equal(fmt.Sprintf("the sum at level %d", level), sum, 500)
	}
	made := check.Must(concurrency.NewSTM(client, func(s concurrency.STM) error {
		s.Put("stm/new", s.Get("stm/missing")+"made")
		s.Del("stm/0")
		return nil
	}, concurrency.WithAbortContext(ctx)))
	c.Equal("a new key and a deletion", made.Succeeded, true)
	c.Equal("the new key, and the deleted key", []any{pairs(check.Must(client.Get(ctx, "stm/new")).Kvs), check.Must(client.Get(ctx, "stm/0")).Count},
		[]any{[]string{"stm/new=made"}, int64(0)})
}

func transfer(ctx context.Context, client *clientv3.Client, level concurrency.Isolation, from, to string) error {
	_, err := concurrency.NewSTM(client, func(s concurrency.STM) error {
		have, err := strconv.Atoi(s.Get(from))
		if err != nil {
			return err
		}
		other, err := strconv.Atoi(s.Get(to))
		if err != nil {
			return err
		}
		s.Put(from, strconv.Itoa(have-1))
		s.Put(to, strconv.Itoa(other+1))
		return nil
	}, concurrency.WithIsolation(level), concurrency.WithAbortContext(ctx))
	return err
}

func maintenance(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	endpoint := client.Endpoints()[0]
	status := check.Must(client.Status(ctx, endpoint))
	c.Equal("status", []any{status.DbSize > 0, status.IsLearner}, []any{true, false})
	members := check.Must(client.MemberList(ctx)).Members
	c.Equal("members", []any{len(members), members[0].ID}, []any{1, status.Leader})
	c.Equal("alarms", len(check.Must(client.AlarmList(ctx)).Alarms), 0)
}

// A client that is configured with a password works while authentication is off.
func password(ctx context.Context, client *clientv3.Client, c *check.Counts) {
	c.Equal("authentication is off", check.Must(client.AuthStatus(ctx)).Enabled, false)
	_, err := client.Authenticate(ctx, "root", "secret")
	c.Equal("authenticate", err, rpctypes.ErrAuthNotEnabled)
	withPassword, err := connect(ctx, client.Endpoints()[0], "root", "secret")
	c.Equal("connect with a password", err, nil)
	if err == nil {
		defer withPassword.Close()
		c.Equal("put with a password", check.Must(withPassword.Put(ctx, "p", "1")).Header.Revision > 0, true)
	}
}
