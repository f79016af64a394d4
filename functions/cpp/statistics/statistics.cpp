// Count, mean and median of the numbers in the request; with `of NAME [REQUEST]`, of those in what function NAME answers.
#include <aerie.hpp>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

static std::vector<double> read_numbers(const std::string &text)
{
    std::vector<double> numbers;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        std::size_t used = 0;
        double number = 0;
        try {
            number = std::stod(word, &used);
        } catch (const std::exception &) {
            used = 0;
        }
        if (used == 0 || used != word.size()) {
            throw std::invalid_argument("`" + word + "` is no number");
        }
        numbers.push_back(number);
    }
    if (numbers.empty()) {
        throw std::invalid_argument("there are no numbers");
    }
    return numbers;
}

static std::string describe(std::vector<double> numbers)
{
    const auto count = numbers.size();
    const double mean = std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(count);
    std::sort(numbers.begin(), numbers.end());
    const double median = (numbers[(count - 1) / 2] + numbers[count / 2]) / 2;
    std::ostringstream text;
    text << count << " numbers, mean " << mean << ", median " << median;
    return text.str();
}

int main()
{
    return aerie::serve([](aerie::Invocation &invocation) {
        std::string text(invocation.request());
        if (text.rfind("of ", 0) == 0) {
            const auto space = std::min(text.find(' ', 3), text.size());
            const auto name = text.substr(3, space - 3);
            text = invocation.invoke(name, space < text.size() ? text.substr(space + 1) : "");
            std::cout << name << " answered " << text << '\n';
        }
        return describe(read_numbers(text));
    });
}
