"""Solutions by hand of 20 problems of codeforces_rllm, by row: a right one, a wrong one, and how
the wrong one ends."""

WRONG, ERROR, TIME = "wrong answer", "runtime error", "time limit"
SOLUTIONS = {
    0: (  # smaller and larger of two digits
        "for _ in range(int(input())):\n    print(*sorted(map(int, input().split())))",
        "for _ in range(int(input())):\n    print(*input().split())",
        WRONG,
    ),
    2: (  # do two chords of a clock cross
        """
for _ in range(int(input())):
    a, b, c, d = map(int, input().split())
    a, b = min(a, b), max(a, b)
    print("YES" if (a < c < b) != (a < d < b) else "NO")
""",
        """
for _ in range(int(input())):
    a, b, c, d = map(int, input().split())
    print("YES" if (a < c < b) != (a < d < b) else "NO")
""",
        WRONG,
    ),
    3: (  # pieces of a binary string that can be sorted
        """
import sys
for s in sys.stdin.read().split()[1:]:
    blocks = 1 + sum(x != y for x, y in zip(s, s[1:]))
    print(blocks - ("01" in s))
""",
        """
import sys
for s in sys.stdin.read().split()[1:]:
    print(1 + sum(x != y for x, y in zip(s, s[1:])))
""",
        WRONG,
    ),
    4: (  # minutes of a car to a point, between signs
        """
from bisect import bisect_right
def main():
    for _ in range(int(input())):
        n, k, q = map(int, input().split())
        a = [0] + list(map(int, input().split()))
        b = [0] + list(map(int, input().split()))
        out = []
        for _ in range(q):
            d = int(input())
            i = bisect_right(a, d) - 1
            t = b[i]
            if a[i] != d:
                t += (d - a[i]) * (b[i + 1] - b[i]) // (a[i + 1] - a[i])
            out.append(t)
        print(*out)
if __name__ == "__main__":
    main()
""",
        """
from bisect import bisect_right
for _ in range(int(input())):
    n, k, q = map(int, input().split())
    a = [0] + list(map(int, input().split()))
    b = [0] + list(map(int, input().split()))
    for _ in range(q):
        d = int(input())
        i = bisect_right(a, d) - 1
        print(b[i] + (d - a[i]) * (b[i + 1] - b[i]) // (a[i + 1] - a[i]))  # past the last sign
""",
        ERROR,
    ),
    5: (  # lattice points in a ring
        """
from math import isqrt
for _ in range(int(input())):
    r = int(input())
    total = 0
    for x in range(-r, r + 1):
        high = isqrt((r + 1) ** 2 - 1 - x * x)
        low = isqrt(r * r - 1 - x * x) if x * x < r * r else -1
        total += 2 * (high - low) if low >= 0 else 2 * high + 1
    print(total)
""",
        """
for _ in range(int(input())):
    r = int(input())
    s = range(-r - 1, r + 2)
    print(sum(r * r <= x * x + y * y < (r + 1) ** 2 for x in s for y in s))
""",
        TIME,
    ),
    8: (  # problems to propose
        """
for _ in range(int(input())):
    n = int(input())
    a = list(map(int, input().split()))
    b = list(map(int, input().split()))
    i = 0
    for limit in b:
        if a[i] <= limit:
            i += 1
    print(n - i)
""",
        """
for _ in range(int(input())):
    n = int(input())
    a = list(map(int, input().split()))
    b = list(map(int, input().split()))
    print(sum(x > y for x, y in zip(a, b)))
""",
        WRONG,
    ),
    15: (  # draws among three players
        """
for _ in range(int(input())):
    p, q, r = map(int, input().split())
    print(-1 if (p + q + r) % 2 else min((p + q + r) // 2, p + q))
""",
        """
for _ in range(int(input())):
    p = list(map(int, input().split()))
    print(-1 if sum(p) % 2 else sum(p) // 2)
""",
        WRONG,
    ),
    21: (  # screens for icons
        """
class Desktop:
    def __init__(self, small, large):
        self.small, self.large = small, large
    def screens(self):
        used = -(-self.large // 2)
        free = used * 15 - 4 * self.large
        return used + -(-max(0, self.small - free) // 15)
for _ in range(int(input())):
    print(Desktop(*map(int, input().split())).screens())
""",
        """
for _ in range(int(input())):
    x, y = map(int, input().split())
    print(-(-(x + 4 * y) // 15))
""",
        WRONG,
    ),
    38: (  # turn one array into a longer one
        """
import sys
def main():
    data = iter(sys.stdin.buffer.read().split())
    for _ in range(int(next(data))):
        n = int(next(data))
        a = [int(next(data)) for _ in range(n)]
        b = [int(next(data)) for _ in range(n + 1)]
        last = b[n]
        extra = min(max(0, min(x, y) - last, last - max(x, y)) for x, y in zip(a, b))
        sys.stdout.write(f"{sum(abs(x - y) for x, y in zip(a, b)) + extra + 1}\\n")
main()
""",
        """
import sys
data = iter(sys.stdin.buffer.read().split())
for _ in range(int(next(data))):
    n = int(next(data))
    a = [int(next(data)) for _ in range(n)]
    b = [int(next(data)) for _ in range(n + 1)]
    print(sum(abs(x - y) for x, y in zip(a, b)) + 1)
""",
        WRONG,
    ),
    43: (  # a tower of cubes
        """
lines = open(0).read().split("\\n")[1:]
for n, m in (map(int, line.split()) for line in lines if line):
    print("Yes" if n >= m and (n - m) % 2 == 0 else "No")
""",
        """
lines = open(0).read().split("\\n")[1:]
for n, m in (map(int, line.split()) for line in lines if line):
    print("Yes" if (n - m) % 2 == 0 else "No")
""",
        WRONG,
    ),
    48: (  # two piles of books, of each the one with the highest number
        """
for _ in range(int(input())):
    input()
    *others, last = map(int, input().split())
    print(last + max(others))
""",
        """
for _ in range(int(input())):
    input()
    print(sum(sorted(map(int, input().split()))[-2:]))
""",
        WRONG,
    ),
    49: (  # buns at a falling price
        """
for _ in range(int(input())):
    n, a, b = map(int, input().split())
    k = max(0, min(n, b - a))
    print(k * b - k * (k - 1) // 2 + (n - k) * a)
""",
        """
for _ in range(int(input())):
    n, a, b = map(int, input().split())
    print(sum(max(a, b - i) for i in range(n)))
""",
        TIME,
    ),
    54: (  # the largest number Alice may say
        """
for _ in range(int(input())):
    n = int(input())
    a = list(map(int, input().split()))
    print(min(map(max, a, a[1:])) - 1)
""",
        """
for _ in range(int(input())):
    n = int(input())
    a = list(map(int, input().split()))
    print(min(map(max, a, a[1:])))
""",
        WRONG,
    ),
    55: (  # the longest common run of n ^ x and n ^ y
        """
for _ in range(int(input())):
    x, y = map(int, input().split())
    print((x ^ y) & -(x ^ y))
""",
        "for _ in range(int(input())):\n    x, y = map(int, input().split())\n    print(x ^ y)",
        WRONG,
    ),
    96: (  # swap two first letters
        """
import threading
def main():
    for _ in range(int(input())):
        a, b = input().split()
        print(b[0] + a[1:], a[0] + b[1:])
thread = threading.Thread(target=main)
thread.start()
thread.join()
""",
        """
for _ in range(int(input())):
    a, b = input().split()
    a[0], b[0] = b[0], a[0]
    print(a, b)
""",
        ERROR,
    ),
    97: (  # the step with the largest sum of multiples
        """
from functools import lru_cache
@lru_cache(None)
def best(n):
    return max(range(2, n + 1), key=lambda x: x * (n // x) * (n // x + 1) // 2)
for _ in range(int(input())):
    print(best(int(input())))
""",
        "for _ in range(int(input())):\n    input()\n    print(2)",
        WRONG,
    ),
    180: (  # animals by their legs
        """
t, *n = map(int, __import__("sys").stdin.read().split())
print(*((x + 2) // 4 for x in n), sep="\\n")
""",
        """
t, *n = map(int, __import__("sys").stdin.read().split())
print(*((x + 2) / 4 for x in n), sep="\\n")
""",
        WRONG,
    ),
    199: (  # the sum of two digits
        "for _ in range(int(input())):\n    print(sum(map(int, input())))",
        "for _ in range(int(input())):\n    print(sum(input()))",
        ERROR,
    ),
    203: (  # operations until all is 0
        """
def digits(x):
    n = 0
    while x:
        x //= 3
        n += 1
    return n
total = [0]
for x in range(1, 200001):
    total.append(total[-1] + digits(x))
for _ in range(int(input())):
    l, r = map(int, input().split())
    print(total[r] - total[l - 1] + digits(l))
""",
        """
def digits(x):
    n = 0
    while x:
        x //= 3
        n += 1
    return n
for _ in range(int(input())):
    l, r = map(int, input().split())
    print(sum(map(digits, range(l, r + 1))))
""",
        WRONG,
    ),
    267: (  # the longest array with growing steps
        """
from math import isqrt
for _ in range(int(input())):
    l, r = map(int, input().split())
    print((isqrt(8 * (r - l) + 1) - 1) // 2 + 1)
""",
        """
for _ in range(int(input())):
    l, r = map(int, input().split())
    count, step = 0, 1
    while l <= r:
        l, step, count = l + step, step + 1, count + 1
    print(count - 1)
""",
        WRONG,
    ),
}
