package main

import (
	"encoding/json"
	"fmt"
	"maps"
)

// forged is an entry that somebody with write access to Redis made by hand, as one of our agents would.
type forged struct {
	id     string
	agent  string            // "": a Python node, whose address is in node_ips
	ip     string            // in node_ips
	beat   string            // the heartbeat's text; "": a good one
	fields map[string]string // of its hash, beside those that every node has
}

// good are the fields of an entry with which nothing is wrong, but that nobody is there.
func good() map[string]string { return map[string]string{"address": "127.0.0.66", "port": "66"} }

// ids are entries in which the id alone is wrong; of ours and of Python.
func ids(bad ...string) (all []forged) {
	for _, id := range bad {
		all = append(all, forged{id: id, agent: "1.0", fields: good(), ip: "127.0.0.66"})
	}
	return all
}

// fields are entries of ours in which one field is wrong.
func fields(field string, bad ...string) (all []forged) {
	for i, v := range bad {
		f := good()
		f[field] = v
		all = append(all, forged{id: fmt.Sprintf("%s%d", field, i), agent: "1.0", fields: f})
	}
	return all
}

// ips are Python nodes at these addresses.
func ips(bad ...string) (all []forged) {
	for i, ip := range bad {
		all = append(all, forged{id: fmt.Sprintf("python%d", i), ip: ip})
	}
	return all
}

func manyLabels() string {
	all := map[string]string{}
	for i := range 33 {
		all[fmt.Sprintf("l%d", i)] = "x"
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(text)
}

// crowd is n entries.
func crowd(n int, entry func(i int) forged) []forged {
	all := make([]forged, n)
	for i := range all {
		all[i] = entry(i)
	}
	return all
}

// bogus is one of many nodes at addresses of their own where nobody is.
func bogus(i int) forged {
	at := map[string]string{"address": fmt.Sprintf("127.9.%d.%d", i/250, i%250+1), "port": "9"}
	return forged{id: fmt.Sprintf("bogus%d", i), agent: "1.0", fields: at}
}

// forge writes entries that live for ten minutes. They come into the pool all at one moment.
func (s *Site) forge(entries ...forged) {
	pipe := s.rdb.Pipeline()
	var ids []any
	for _, f := range entries {
		for _, cmd := range f.commands() {
			pipe.Do(s.ctx, cmd...)
		}
		ids = append(ids, f.id)
	}
	for _, set := range []string{"bazbeans:nodes:all", "bazbeans:nodes:active"} {
		pipe.SAdd(s.ctx, set, ids...)
	}
	if _, err := pipe.Exec(s.ctx); err != nil {
		s.fail("forge %d entries, the first of them %.60q: %w", len(entries), entries[0].id, err)
	}
}

// unforge takes entries away without a trace.
func (s *Site) unforge(entries ...forged) {
	pipe := s.rdb.Pipeline()
	for _, f := range entries {
		pipe.SRem(s.ctx, "bazbeans:nodes:all", f.id)
		pipe.SRem(s.ctx, "bazbeans:nodes:active", f.id)
		pipe.Del(s.ctx, "bazbeans:node:"+f.id+":heartbeat", "bazbeans:node:"+f.id+":status")
	}
	_, err := pipe.Exec(s.ctx)
	s.must(err)
}

// commands make the entry, but for the sets that have it in the pool.
func (f forged) commands() (all [][]any) {
	hash := map[string]string{"status": "active", "details": "", "timestamp": "1700000000.0", "data_center": "dc1", "is_frozen": "false", "is_active": "true"}
	maps.Copy(hash, f.fields)
	set := []any{"HSET", "bazbeans:node:" + f.id + ":status"}
	for k, v := range hash {
		set = append(set, k, v)
	}
	beat := f.beat
	if beat == "" {
		beat = `{"timestamp":1700000000.0,"node_id":"x"}`
		if f.agent != "" {
			beat = `{"timestamp":1700000000.0,"node_id":"x","agent":"` + f.agent + `"}`
		}
	}
	if f.agent == "" || f.ip != "" {
		all = append(all, []any{"HSET", "bazbeans:node_ips", f.id, f.ip})
	}
	return append(all, set, []any{"SET", "bazbeans:node:" + f.id + ":heartbeat", beat, "EX", 600})
}
