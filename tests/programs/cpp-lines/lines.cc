// Adds the numbers of each line of standard input, each line in a thread of its own, and writes the sums. A word that is no number is
// an exception that passes from its thread to main, which ends with code 3; the word "terminate" is caught by nobody.
#include <future>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

static double sum_of(const std::string &line)
{
    std::istringstream words(line);
    double sum = 0;
    for (std::string word; words >> word;) {
        std::size_t end = 0;
        if (word == "terminate")
            throw 7;
        sum += std::stod(word, &end);
        if (end != word.size())
            throw std::invalid_argument(word);
    }
    return sum;
}

int main()
{
    std::vector<std::future<double>> sums;
    for (std::string line; std::getline(std::cin, line);)
        sums.push_back(std::async(std::launch::async, sum_of, line));
    try {
        for (auto &sum : sums)
            std::cout << sum.get() << '\n';
    } catch (const std::exception &error) {
        std::cerr << "no number: " << error.what() << '\n';
        return 3;
    }
}
