// Exceptions on all the ways that they can take.
#include <aerie.hpp>

#include <string>

struct Odd {};

static std::string answer(aerie::Invocation &invocation, unsigned &served)
{
    const std::string text(invocation.request());
    ++served;
    std::cout << "request " << invocation.request_id();
    if (text == "throw") {
        throw std::runtime_error("thrown as asked for");
    }
    if (text == "odd") {
        throw Odd();
    }
    if (text == "vector") {
        return std::string(1, std::string("abc").at(served + 1000));
    }
    if (text == "count") {
        return std::to_string(served);
    }
    if (text == "about") {
        const auto function = invocation.function();
        const bool is_right = invocation.remaining().count() > 0 && invocation.seed() != std::make_pair(UINT64_C(0), UINT64_C(0));
        return function.name + " of " + std::to_string(function.memory_bytes >> 10) + " KiB, depth " +
               std::to_string(invocation.depth()) + (is_right ? ", right" : ", WRONG");
    }
    if (text.rfind("call ", 0) == 0) {
        const auto space = std::min(text.find(' ', 5), text.size());
        try {
            return invocation.invoke(text.substr(5, space - 5), text.substr(std::min(space + 1, text.size())));
        } catch (const aerie::Error &error) {
            return std::string("caught ") + aerie_status_name(error.status()) + " " + std::to_string(error.exit_code());
        }
    }
    // Whatever is not caught here becomes a failure.
    return invocation.invoke(text, "", {std::chrono::milliseconds(500), 0});
}

int main()
{
    unsigned served = 0;
    return aerie::serve([&served](aerie::Invocation &invocation) { return answer(invocation, served); });
}
