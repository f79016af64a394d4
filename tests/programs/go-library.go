// What Go programs use of their runtime and library. Each check ends the program with code 1 if something is not as it should be;
// the last line says how many there were.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"
)

// require ends the program unless the condition holds.
func require(condition bool, format string, values ...any) {
	if !condition {
		_, _, line, _ := runtime.Caller(1)
		fmt.Printf("line %d: not so: %s\n", line, fmt.Sprintf(format, values...))
		os.Exit(1)
	}
}

func goroutines() {
	const count, rounds = 100, 100
	var all sync.WaitGroup
	var mutex sync.Mutex
	var total int64
	plain := 0
	for i := 0; i < count; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < rounds; j++ {
				atomic.AddInt64(&total, 1)
				mutex.Lock()
				plain++
				mutex.Unlock()
				runtime.Gosched()
			}
		}()
	}
	all.Wait()
	require(total == count*rounds && plain == count*rounds, "%d and %d", total, plain)
}

// Each goroutine keeps a thread of the system for itself until all have one.
func threads() {
	const count = 8
	var all, ready sync.WaitGroup
	ready.Add(count)
	for i := 0; i < count; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			ready.Wait()
		}()
	}
	all.Wait()
}

func channels() {
	numbers, squares := make(chan int), make(chan int, 16)
	var workers sync.WaitGroup
	for i := 0; i < 4; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range numbers {
				squares <- number * number
			}
		}()
	}
	go func() {
		for i := 1; i <= 1000; i++ {
			numbers <- i
		}
		close(numbers)
		workers.Wait()
		close(squares)
	}()
	sum := 0
	for square := range squares {
		sum += square
	}
	require(sum == 333833500, "%d", sum)
}

func selecting() {
	first, second, done := make(chan int), make(chan int), make(chan struct{})
	go func() {
		for i := 0; i < 200; i++ {
			if i%2 == 0 {
				first <- i
			} else {
				second <- i
			}
		}
		close(done)
	}()
	evens, odds := 0, 0
	for more := true; more; {
		select {
		case <-first:
			evens++
		case <-second:
			odds++
		case <-done:
			more = false
		}
	}
	require(evens == 100 && odds == 100, "%d and %d", evens, odds)
}

func timers() {
	start := time.Now()
	select {
	case <-time.After(10 * time.Millisecond):
	case <-make(chan int):
	}
	require(time.Since(start) >= 10*time.Millisecond, "%v", time.Since(start))
	ticker := time.NewTicker(2 * time.Millisecond)
	for i := 0; i < 5; i++ {
		<-ticker.C
	}
	ticker.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	require(errors.Is(ctx.Err(), context.DeadlineExceeded), "%v", ctx.Err())
	require(start.Year() >= 2024, "%v", start)
	day := time.Date(2000, 2, 29, 12, 0, 0, 0, time.UTC).AddDate(1, 0, 0)
	require(day.Format(time.RFC3339) == "2001-03-01T12:00:00Z", "%v", day)
}

type node struct {
	left, right *node
	payload     [4]int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{left: tree(depth - 1), right: tree(depth - 1)}
}

func (n *node) count() int {
	if n == nil {
		return 0
	}
	return 1 + n.left.count() + n.right.count()
}

// Garbage is made and collected by several threads while a tree stays.
func garbage() {
	kept := tree(12)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < 20; j++ {
				require(tree(10).count() == 2047, "a tree lost nodes")
			}
		}()
	}
	all.Wait()
	runtime.GC()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&after)
	require(after.NumGC > before.NumGC+1, "%d collections", after.NumGC-before.NumGC)
	require(kept.count() == 8191, "the tree lost nodes")
}

// A loop without calls must be interrupted for a collection: the runtime sends its thread a signal.
func preemption() {
	var stop atomic.Bool
	ended := make(chan int)
	go func() {
		rounds := 0
		for !stop.Load() {
			for i := 0; i < 1000; i++ {
				rounds++
			}
		}
		ended <- rounds
	}()
	for i := 0; i < 5; i++ {
		time.Sleep(time.Millisecond)
		runtime.GC()
	}
	stop.Store(true)
	require(<-ended > 0, "the loop did not run")
}

func recovered(action func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	action()
	return
}

func panics() {
	require(recovered(func() { panic("as asked for") }) == "as asked for", "a panic's text")
	var numbers []int
	text := recovered(func() { numbers[len(os.Args)+5]++ })
	require(strings.Contains(text, "index out of range"), "%s", text)
	zero := len(numbers)
	text = recovered(func() { zero = 1 / zero })
	require(strings.Contains(text, "divide by zero"), "%s", text)
	ended := make(chan string)
	go func() { ended <- recovered(func() { panic(errors.New("in a goroutine")) }) }()
	require(<-ended == "in a goroutine", "another goroutine's panic")
}

// The processor's faults become panics: the runtime handles SIGSEGV.
func faults() {
	var nothing *node
	for i := 0; i < 3; i++ {
		text := recovered(func() { nothing.payload[1] = 1 })
		require(strings.Contains(text, "nil pointer dereference"), "%s", text)
	}
	ended := make(chan string)
	go func() { ended <- recovered(func() { _ = *nothing.left.left }) }()
	text := <-ended
	require(strings.Contains(text, "nil pointer dereference"), "%s", text)
}

func deep(depth int) int {
	var room [64]int
	room[depth%64] = depth
	if depth == 0 {
		return 0
	}
	return deep(depth-1) + 1 + room[depth%64] - depth
}

// A goroutine's stack grows by being copied.
func stacks() {
	result := make(chan int)
	go func() { result <- deep(20000) }()
	require(<-result == 20000, "the depth")
}

func maps() {
	counts := map[string]int{}
	for i := 0; i < 5000; i++ {
		counts[fmt.Sprintf("key-%d", i%500)]++
	}
	keys := make([]string, 0, len(counts))
	for key, count := range counts {
		require(count == 10, "%s: %d", key, count)
		keys = append(keys, key)
	}
	sort.Strings(keys)
	require(len(keys) == 500 && keys[0] == "key-0" && keys[499] == "key-99", "%d keys", len(keys))
	var shared sync.Map
	shared.Store("a", 1)
	value, found := shared.LoadOrStore("a", 2)
	require(found && value == 1, "%v", value)
}

type person struct {
	Name string            `json:"name"`
	Tags []string          `json:"tags,omitempty"`
	More map[string]any    `json:"more"`
	Next *person           `json:"next,omitempty"`
	Kind map[string]string `json:"-"`
}

func texts() {
	before := person{Name: "Ada ü", Tags: []string{"a", "b"}, More: map[string]any{"x": 1.5, "y": nil}, Next: &person{Name: "B"}}
	text, err := json.Marshal(before)
	wanted := `{"name":"Ada ü","tags":["a","b"],"more":{"x":1.5,"y":null},"next":{"name":"B","more":null}}`
	require(err == nil && string(text) == wanted, "%s %v", text, err)
	var after person
	require(json.Unmarshal(text, &after) == nil && after.Next.Name == "B" && after.More["x"] == 1.5, "%v", after)
	require(fmt.Sprintf("%5.2f|%-4s|%08b|%x|%q|%v", 3.14159, "ab", 5, "hi", "q\n", []int{1}) == ` 3.14|ab  |00000101|6869|"q\n"|[1]`, "fmt")
	pattern := regexp.MustCompile(`(\w+)@(\w+)\.com`)
	require(pattern.ReplaceAllString("to ada@home.com, bob@work.com", "$2:$1") == "to home:ada, work:bob", "regexp")
	factorial := new(big.Int).MulRange(1, 60)
	require(factorial.String() == "8320987112741390144276341183223364380754172606361245952449277696409600000000000000", "%s", factorial)
	var out bytes.Buffer
	err = template.Must(template.New("t").Parse(`{{range .}}<{{.}}>{{end}}`)).Execute(&out, []int{1, 2})
	require(err == nil && out.String() == "<1><2>", "%s", out.String())
}

func digests() {
	sum := sha256.Sum256([]byte("abc"))
	text := base64.StdEncoding.EncodeToString(sum[:])
	require(text == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", "%s", text)
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	original := strings.Repeat("again and again ", 5000)
	_, err := io.WriteString(writer, original)
	require(err == nil && writer.Close() == nil && packed.Len() < 2000, "%d bytes", packed.Len())
	reader, err := gzip.NewReader(&packed)
	require(err == nil, "%v", err)
	unpacked, err := io.ReadAll(reader)
	require(err == nil && string(unpacked) == original, "%v", err)
}

func files() {
	folder, err := os.MkdirTemp("", "go-*")
	require(err == nil && strings.HasPrefix(folder, "/tmp/go-"), "%s %v", folder, err)
	name := filepath.Join(folder, "lines")
	file, err := os.Create(name)
	require(err == nil, "%v", err)
	out := bufio.NewWriter(file)
	for i := 0; i < 1000; i++ {
		fmt.Fprintln(out, i)
	}
	require(out.Flush() == nil && file.Close() == nil, "writing")
	text, err := os.ReadFile(name)
	require(err == nil && len(strings.Fields(string(text))) == 1000, "%v", err)
	require(os.Rename(name, name+"2") == nil, "renaming")
	entries, err := os.ReadDir(folder)
	require(err == nil && len(entries) == 1 && entries[0].Name() == "lines2", "%v %v", entries, err)
	_, err = os.Stat(name)
	require(errors.Is(err, os.ErrNotExist), "%v", err)
	require(os.RemoveAll(folder) == nil, "removing")
	reader, writer, err := os.Pipe()
	require(err == nil, "%v", err)
	go func() {
		fmt.Fprint(writer, "through a pipe")
		writer.Close()
	}()
	text, err = io.ReadAll(reader)
	require(err == nil && string(text) == "through a pipe", "%s %v", text, err)
}

func main() {
	checks := []struct {
		name string
		run  func()
	}{
		{"100 goroutines count together", goroutines},
		{"eight goroutines have a thread each", threads},
		{"channels carry 1,000 numbers to four workers", channels},
		{"select takes what comes", selecting},
		{"timers, tickers and deadlines go off", timers},
		{"garbage is collected while four threads make it", garbage},
		{"a loop without calls is interrupted", preemption},
		{"panics are recovered", panics},
		{"nil dereferences are recovered", faults},
		{"a stack grows to 20,000 calls", stacks},
		{"maps count", maps},
		{"JSON, formats, patterns, big numbers, templates", texts},
		{"digests and compression", digests},
		{"files in /tmp and pipes", files},
	}
	for _, check := range checks {
		check.run()
		fmt.Println("ok", check.name)
	}
	fmt.Println(len(checks), "checks, all fine")
}
