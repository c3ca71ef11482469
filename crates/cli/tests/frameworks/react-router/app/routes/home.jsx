export function meta() {
  return [{ title: "React Router at the edge" }];
}

export default function Home() {
  return <h1>React Router at the edge</h1>;
}
