#include "base/log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace kvasir {
namespace {

class Log : public testing::Test {
 protected:
  ~Log() override { set_log_sink({}); }

  std::vector<std::string> lines_;
};

TEST_F(Log, IsSilentWithoutASink) {
  base::log(LogLevel::kWarning, "nobody hears this");
  set_log_sink([&](LogLevel, std::string_view line) { lines_.emplace_back(line); });
  set_log_sink(nullptr);
  base::log(LogLevel::kWarning, "nor this");
  EXPECT_TRUE(lines_.empty());
}

TEST_F(Log, TheLastSinkGetsEachLine) {
  set_log_sink([](LogLevel, std::string_view) { FAIL() << "replaced"; });
  set_log_sink([&](LogLevel level, std::string_view line) {
    EXPECT_EQ(level, LogLevel::kWarning);
    lines_.emplace_back(line);
  });
  base::log(LogLevel::kWarning, "one");
  base::log(LogLevel::kWarning, "tensor a\nb\x1b[2J \u00e9");
  EXPECT_EQ(lines_, (std::vector<std::string>{"one", "tensor a?b?[2J \u00e9"}));
}

TEST_F(Log, ASinkMayReplaceItself) {
  set_log_sink([&](LogLevel, std::string_view line) {
    lines_.emplace_back(line);
    set_log_sink({});
    base::log(LogLevel::kWarning, "from the sink");
  });
  base::log(LogLevel::kWarning, "one");
  base::log(LogLevel::kWarning, "two");
  EXPECT_EQ(lines_, std::vector<std::string>{"one"});
}

TEST_F(Log, ThreadsWarnWhileTheSinkIsReplaced) {
  std::atomic<int> heard = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) base::log(LogLevel::kWarning, "a line");
    });
  }
  while (heard < 1000) {
    set_log_sink([&heard](LogLevel, std::string_view line) { heard += line == "a line" ? 1 : 0; });
    std::this_thread::yield();
    set_log_sink({});
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace kvasir
