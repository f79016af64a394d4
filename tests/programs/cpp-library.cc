// What C++ programs use of their library (C++17). Each check ends the program with code 1 if something is not as it should be; the
// last line says how many there were.
#include <algorithm>
#include <any>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <locale>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <regex>
#include <set>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <typeinfo>
#include <unordered_map>
#include <variant>
#include <vector>

#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            std::cout << "line " << __LINE__ << ": not so: " << #condition << std::endl; \
            std::_Exit(1); \
        } \
    } while (0)

namespace {

struct Failure : std::runtime_error {
    explicit Failure(int depth) : std::runtime_error("depth " + std::to_string(depth)), depth(depth) {}
    int depth;
};

std::atomic<int> destroyed{0};

struct Guard {
    ~Guard() { destroyed++; }
};

[[gnu::noinline]] int descend(int depth)
{
    Guard guard;
    std::string text(100, 'x');
    if (depth == 0)
        throw Failure(42);
    return descend(depth - 1) + static_cast<int>(text.size());
}

void exceptions()
{
    int caught = 0;
    try {
        descend(200);
    } catch (const std::logic_error &) {
        REQUIRE(false);
    } catch (const Failure &failure) {
        caught = failure.depth;
        REQUIRE(std::string(failure.what()) == "depth 42");
    }
    REQUIRE(caught == 42 && destroyed == 201);
    // From the library, through its frames, and again from a handler.
    try {
        try {
            std::vector<int>().at(3);
        } catch (const std::out_of_range &) {
            throw;
        }
    } catch (const std::exception &error) {
        caught = 43;
        REQUIRE(typeid(error) == typeid(std::out_of_range));
    }
    std::vector<int> numbers{3, 1, 2};
    try {
        std::sort(numbers.begin(), numbers.end(), [](int, int) -> bool { throw 7; });
        REQUIRE(false);
    } catch (int number) {
        REQUIRE(number == 7 && caught == 43);
    }
    try {
        std::vector<char> room(std::size_t(1) << 60);
        REQUIRE(false);
    } catch (const std::bad_alloc &) {
    }
    for (int i = 0; i < 1000; i++) {
        try {
            throw i;
        } catch (int number) {
            REQUIRE(number == i);
        }
    }
}

void exceptions_between_threads()
{
    std::exception_ptr kept;
    std::thread thrower([&] {
        try {
            descend(20);
        } catch (...) {
            kept = std::current_exception();
        }
    });
    thrower.join();
    try {
        std::rethrow_exception(kept);
    } catch (const Failure &failure) {
        REQUIRE(failure.depth == 42);
    }
    auto future = std::async(std::launch::async, [] { return descend(5); });
    bool caught = false;
    try {
        future.get();
    } catch (const Failure &) {
        caught = true;
    }
    REQUIRE(caught);
    // Threads throw at once: unwinding shares tables.
    std::vector<std::thread> all;
    std::atomic<int> count{0};
    for (int i = 0; i < 4; i++) {
        all.emplace_back([&count] {
            for (int j = 0; j < 50; j++) {
                try {
                    descend(10);
                } catch (const Failure &) {
                    count++;
                }
            }
        });
    }
    for (auto &thread : all)
        thread.join();
    REQUIRE(count == 200);
}

void streams()
{
    std::ostringstream out;
    out << std::setw(6) << std::setfill('*') << 42 << ' ' << std::hex << std::showbase << 255 << ' ' << std::fixed
        << std::setprecision(3) << 2.71828 << ' ' << std::boolalpha << true;
    REQUIRE(out.str() == "****42 0xff 2.718 true");
    std::istringstream in("17 3.5 word 99x");
    int number;
    double fraction;
    std::string word;
    REQUIRE(in >> number >> fraction >> word && number == 17 && fraction == 3.5 && word == "word");
    REQUIRE(in >> number && number == 99 && !(in >> number) && in.fail());
    REQUIRE(std::locale().name() == "C" && std::stod("1e3") == 1000.0 && std::to_string(1.5) == "1.500000");
    std::istringstream lines("a b\nc\n");
    std::vector<std::string> words{std::istream_iterator<std::string>(lines), {}};
    REQUIRE(words.size() == 3 && words[2] == "c");
}

void files()
{
    namespace fs = std::filesystem;
    {
        std::ofstream file("/tmp/numbers");
        for (int i = 0; i < 1000; i++)
            file << i << '\n';
        REQUIRE(file.good());
    }
    std::ifstream file("/tmp/numbers");
    long sum = 0;
    for (int number; file >> number;)
        sum += number;
    REQUIRE(sum == 499500 && file.eof());
    REQUIRE(fs::file_size("/tmp/numbers") == 3890 && !fs::exists("/tmp/absent"));
    fs::create_directories("/tmp/a/b");
    fs::rename("/tmp/numbers", "/tmp/a/b/numbers");
    std::set<std::string> found;
    for (const auto &entry : fs::recursive_directory_iterator("/tmp/a"))
        found.insert(entry.path().string());
    REQUIRE(found == (std::set<std::string>{"/tmp/a/b", "/tmp/a/b/numbers"}));
    REQUIRE(fs::remove_all("/tmp/a") == 3);
    bool refused = false;
    try {
        fs::create_directory("/rom/new");
    } catch (const fs::filesystem_error &error) {
        refused = error.code() == std::errc::read_only_file_system;
    }
    REQUIRE(refused);
}

void containers()
{
    std::map<std::string, std::vector<int>> groups;
    std::unordered_map<int, int> squares;
    for (int i = 0; i < 3000; i++) {
        groups["group " + std::to_string(i % 7)].push_back(i);
        squares[i] = i * i;
    }
    REQUIRE(groups.size() == 7 && groups["group 3"].size() == 429 && squares.at(2999) == 8994001);
    std::priority_queue<int> queue;
    std::mt19937 random(5489);
    for (int i = 0; i < 9999; i++) {
        auto number = random();
        queue.push(static_cast<int>(number % 1000));
    }
    REQUIRE(random() == 4123659995u && queue.top() == 999);
    std::variant<int, std::string> either = std::string("text");
    REQUIRE(std::get<std::string>(either) == "text" && !std::holds_alternative<int>(either));
    std::any value = 5;
    REQUIRE(std::any_cast<int>(value) == 5 && std::optional<int>().value_or(3) == 3);
    auto shared = std::make_shared<Guard>();
    std::weak_ptr<Guard> weak = shared;
    shared.reset();
    REQUIRE(weak.expired());
    std::vector<int> numbers(1000);
    std::iota(numbers.begin(), numbers.end(), 1);
    REQUIRE(std::accumulate(numbers.begin(), numbers.end(), 0) == 500500);
}

void patterns()
{
    std::regex address(R"((\w+)@(\w+)\.com)");
    std::string text = "to ada@home.com and bob@work.com";
    REQUIRE(std::regex_replace(text, address, "$2:$1") == "to home:ada and work:bob");
    auto matches = std::sregex_iterator(text.begin(), text.end(), address);
    REQUIRE(std::distance(matches, std::sregex_iterator()) == 2);
    REQUIRE(std::regex_match("2024-02-29", std::regex(R"(\d{4}-\d\d-\d\d)")));
    bool refused = false;
    try {
        std::regex bad("(");
    } catch (const std::regex_error &) {
        refused = true;
    }
    REQUIRE(refused);
}

thread_local int own = 1;

void threads()
{
    std::mutex mutex;
    std::condition_variable changed;
    std::queue<int> queue;
    long sum = 0;
    std::thread consumer([&] {
        for (;;) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return !queue.empty(); });
            int number = queue.front();
            queue.pop();
            if (number < 0)
                return;
            sum += number;
        }
    });
    for (int i = 1; i <= 500; i++) {
        std::lock_guard lock(mutex);
        queue.push(i == 500 ? -1 : i);
        changed.notify_one();
    }
    consumer.join();
    REQUIRE(sum == 124750);
    std::vector<std::future<int>> results;
    for (int i = 0; i < 8; i++)
        results.push_back(std::async(std::launch::async, [i] { return own += i; }));
    int total = 0;
    for (auto &result : results)
        total += result.get();
    REQUIRE(total == 36 && own == 1);
    std::once_flag once;
    std::shared_mutex shared;
    std::atomic<int> times{0};
    std::vector<std::thread> all;
    for (int i = 0; i < 4; i++) {
        all.emplace_back([&] {
            std::call_once(once, [&] { times++; });
            std::shared_lock lock(shared);
            times += 10;
        });
    }
    for (auto &thread : all)
        thread.join();
    REQUIRE(times == 41);
    std::promise<std::string> promise;
    std::thread keeper([&] { promise.set_value("kept"); });
    REQUIRE(promise.get_future().get() == "kept");
    keeper.join();
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, std::chrono::milliseconds(3)) == std::cv_status::timeout);
    auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    REQUIRE(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(3));
}

int order = 0;

struct Static {
    Static() { order = order * 10 + 1; }
};

Static made_before_main;

} // namespace

int main()
{
    const std::vector<std::pair<const char *, std::function<void()>>> checks{
        {"objects are made before main", [] { REQUIRE(order == 1); }},
        {"exceptions unwind 200 frames and run destructors", exceptions},
        {"exceptions pass from thread to thread", exceptions_between_threads},
        {"streams format and parse", streams},
        {"files and folders in /tmp", files},
        {"containers and algorithms", containers},
        {"regular expressions", patterns},
        {"threads, futures, conditions and locks", threads},
    };
    for (const auto &[name, check] : checks) {
        check();
        std::cout << "ok " << name << '\n';
    }
    std::cout << checks.size() << " checks, all fine" << std::endl;
}
