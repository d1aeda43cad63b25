package main

type result struct {
	Template string         `json:"template"`
	Case     string         `json:"case"`
	Nginx    string         `json:"nginx"`
	Engine   string         `json:"engine"`
	OK       bool           `json:"ok"`
	Requests int            `json:"requests"`
	Went     string         `json:"went"`
	Nodes    map[string]int `json:"nodes,omitempty"`
	Golden   string         `json:"golden"`
	Seconds  float64        `json:"seconds"`
	Faults   []string       `json:"faults,omitempty"`
}
type report struct {
	OK      bool     `json:"ok"`
	Network string   `json:"network"`
	Notes   []string `json:"notes,omitempty"`
	Results []result `json:"results"`
}
