// Counts the words of the texts in a JSON list on standard input, each text in a goroutine of its own. Writes the counts as JSON.
// `"panic"` and `"nil"` instead of a list make it fail.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
)

type answer struct {
	Words    map[string]int `json:"words"`
	Most     string         `json:"most"`
	Routines int            `json:"routines"`
}

func count(texts []string) answer {
	var all sync.WaitGroup
	counts := make(chan map[string]int, len(texts))
	for _, text := range texts {
		all.Add(1)
		go func(text string) {
			defer all.Done()
			own := map[string]int{}
			for _, word := range strings.Fields(text) {
				own[strings.ToLower(word)]++
			}
			counts <- own
		}(text)
	}
	all.Wait()
	close(counts)
	runtime.GC()
	total := map[string]int{}
	for own := range counts {
		for word, number := range own {
			total[word] += number
		}
	}
	words := make([]string, 0, len(total))
	for word := range total {
		words = append(words, word)
	}
	sort.Slice(words, func(i, j int) bool {
		return total[words[i]] > total[words[j]] || total[words[i]] == total[words[j]] && words[i] < words[j]
	})
	return answer{Words: total, Most: strings.Join(words[:1], ""), Routines: len(texts)}
}

func main() {
	var request any
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		fmt.Fprintln(os.Stderr, "the request is no JSON:", err)
		os.Exit(3)
	}
	var texts []string
	switch request := request.(type) {
	case string:
		if request == "nil" {
			var nothing *answer
			fmt.Println(nothing.Routines)
		}
		panic(request)
	case []any:
		for _, text := range request {
			texts = append(texts, fmt.Sprint(text))
		}
	}
	json.NewEncoder(os.Stdout).Encode(count(texts))
}
