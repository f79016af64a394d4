/*
 * What a function in C++ links against: aerie.h with the manners of C++17. The image tool links the library where a function's
 * source includes this file (docs/writing-functions.md).
 *
 *     #include <aerie.hpp>
 *
 *     int main()
 *     {
 *         return aerie::serve([](aerie::Invocation &invocation) {
 *             return "Hello, " + std::string(invocation.request()) + "!";
 *         });
 *     }
 *
 * The handler's result is the response. An exception is a failure: the caller gets AERIE_FAILED with what() as its message, and
 * the worker is as good as before.
 */
#ifndef AERIE_HPP
#define AERIE_HPP

#include <aerie.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace aerie {

/* Why a call has no result. what() is a sentence for people. */
class Error : public std::runtime_error {
public:
    Error(aerie_status status, const std::string &message, std::int64_t exit_code = 0)
        : std::runtime_error(message), status_(status), exit_code_(exit_code)
    {
    }

    /* What happened. */
    aerie_status status() const noexcept { return status_; }

    /* The exit code of a worker that ended itself (AERIE_EXIT), 0 otherwise. */
    std::int64_t exit_code() const noexcept { return exit_code_; }

private:
    aerie_status status_;
    std::int64_t exit_code_;
};

/* Narrower limits of a call; 0 is the function's own limit. */
struct Limits {
    std::chrono::nanoseconds timeout{0};
    std::uint64_t memory_bytes = 0;
};

/* What the manager knows of the function. */
struct Function {
    std::string name;
    std::string handler;
    std::uint32_t version;
    std::uint64_t memory_bytes;
};

/* The invocation that a handler serves. Views that it gives are valid until the handler returns. */
class Invocation {
public:
    /* Around what an aerie_handler is called with, which must not be NULL. */
    explicit Invocation(aerie_invocation *invocation) noexcept : invocation_(invocation) {}
    Invocation(const Invocation &) = delete;
    Invocation &operator=(const Invocation &) = delete;

    std::string_view request() const noexcept { return view(aerie_request(invocation_)); }
    std::uint64_t request_id() const noexcept { return aerie_request_id(invocation_); }
    std::uint32_t depth() const noexcept { return aerie_depth(invocation_); }

    /* The time until the worker is ended if it has not answered. */
    std::chrono::nanoseconds remaining() const noexcept
    {
        return std::chrono::nanoseconds(aerie_remaining_ns(invocation_));
    }

    /* 128 random bits, new in each invocation. */
    std::pair<std::uint64_t, std::uint64_t> seed() const noexcept
    {
        std::uint64_t words[2] = {0, 0};
        aerie_seed(invocation_, words);
        return {words[0], words[1]};
    }

    /* What the manager knows of this function. Throws Error. */
    Function function() const
    {
        aerie_function known;
        const aerie_status status = aerie_function_info(invocation_, &known);
        if (status != AERIE_OK) {
            throw Error(status, "the manager cannot be asked about the function");
        }
        return {known.name, known.handler, known.version, known.memory_bytes};
    }

    /* Calls another function and returns its response. Throws Error, whatever happened to the called function. */
    std::string invoke(const std::string &name, std::string_view request, Limits limits = {}) const
    {
        const auto timeout = limits.timeout.count();
        const aerie_limits narrower = {timeout > 0 ? static_cast<std::uint64_t>(timeout) : 0, limits.memory_bytes};
        const std::unique_ptr<aerie_reply, void (*)(aerie_reply *)> reply(
            aerie_invoke(invocation_, name.c_str(), request.data(), request.size(), &narrower), aerie_reply_free);
        const aerie_status status = aerie_reply_status(reply.get());
        if (status != AERIE_OK) {
            throw Error(status, aerie_reply_message(reply.get()), aerie_reply_exit_code(reply.get()));
        }
        return std::string(view(aerie_reply_bytes(reply.get())));
    }

    /* What aerie.h's functions take. */
    aerie_invocation *get() const noexcept { return invocation_; }

private:
    static std::string_view view(aerie_bytes bytes) noexcept { return {bytes.data, bytes.length}; }

    aerie_invocation *invocation_;
};

/*
 * Serves requests with `handler`, which takes an Invocation & and returns something that a std::string_view can be made of, until
 * the manager ends the worker. Returns an exit code for main() as aerie_serve does.
 */
template <typename Handler>
int serve(Handler &&handler)
{
    using Stored = std::decay_t<Handler>;
    Stored stored(std::forward<Handler>(handler));
    const aerie_handler serve_one = [](aerie_invocation *raw, void *state) {
        try {
            Invocation invocation(raw);
            const auto response = (*static_cast<Stored *>(state))(invocation);
            const std::string_view bytes(response);
            aerie_respond(raw, bytes.data(), bytes.size());
        } catch (const std::exception &error) {
            aerie_fail(raw, error.what());
        } catch (...) {
            aerie_fail(raw, "an exception that is no std::exception");
        }
        std::cout.flush();
        std::cerr.flush();
    };
    return aerie_serve(serve_one, &stored);
}

} /* namespace aerie */

#endif
